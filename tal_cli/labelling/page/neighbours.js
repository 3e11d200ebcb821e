// Frames around the one on screen, decoded by a second player while the first one stands: a step shows them at once.

import { find } from "./dom.js";

const AROUND = 15; // frames each way
const MOST = 60e6; // bytes
const QUIET = 200; // ms that the player stands before it begins

const canvas = find("#still");
const second = document.createElement("video");
second.muted = true;
second.preload = "metadata"; // else gigabytes of large files are read ahead

let source = ""; // address of the file
let offset = 0; // the player's time of frame 0
const store = new Map(); // frame -> ImageData
let pixels = new Uint8ClampedArray(0); // of a frame that is not kept as it is
let run = 0; // what is under way ends when this changes
let timer = 0;
export let shown = null; // the frame that is drawn over the player, if any

// Another file: what is kept is of no use any more.
export function openStore(address) {
  rest();
  hideStill();
  store.clear();
  source = address;
  second.removeAttribute("src");
}

// Stop decoding.
export function rest() {
  run += 1;
  clearTimeout(timer);
}

// The player stands at a frame: decode what is around it, the nearest first.
export function prepare(frame, frames, start) {
  rest();
  offset = start;
  if ("VideoFrame" in window && source) timer = setTimeout(fill, QUIET, frame, frames, run);
}

async function fill(frame, frames, mine) {
  try {
    if (!second.getAttribute("src")) second.src = source;
    if (second.readyState < 2) await told("loadeddata");
    if (run !== mine) return;
    const by = reduction();
    const bytes = (second.videoWidth * second.videoHeight * 4) / by ** 2;
    const each = Math.max(1, Math.min(AROUND, Math.floor((MOST / bytes - 1) / 2)));
    for (const place of store.keys()) if (Math.abs(place - frame) > each) store.delete(place);
    for (let away = 0; away <= each; away += 1) {
      for (const place of away ? [frame - away, frame + away] : [frame]) {
        if (place < 0 || place >= frames.count || store.has(place)) continue;
        second.currentTime = frames.middle(place) + offset;
        await told("seeked");
        if (run !== mine) return;
        await keep(frames, by, mine);
      }
    }
  } catch { /* a browser that does not: steps wait for the player */ }
}
const told = (name) => new Promise((resolve, reject) => {
  const both = new AbortController();
  const settle = (act) => [(event) => { both.abort(); act(event); }, { signal: both.signal }];
  second.addEventListener(name, ...settle(resolve));
  second.addEventListener("error", ...settle(reject));
});

// How many pixels of the video one on the screen has, each way.
function reduction() {
  const { clientWidth, clientHeight } = canvas.parentElement;
  const ratio = window.devicePixelRatio || 1;
  return Math.max(1, Math.floor(Math.min(second.videoWidth / clientWidth, second.videoHeight / clientHeight) / ratio) || 1);
}

// The pixels of a frame, which is closed. They are copied and reduced here: browsers keep hundreds of megabytes of what
// is drawn from a player or from another canvas.
export async function copied(now, into = new Uint8ClampedArray(now.visibleRect.width * now.visibleRect.height * 4)) {
  await now.copyTo(into, { format: "RGBA" }).finally(() => now.close());
  return into;
}

// Which frame it is the second player's own time stamp says.
async function keep(frames, by, mine) {
  const now = new VideoFrame(second);
  const place = frames.told(now.timestamp / 1e6 - offset);
  const { visibleRect: { width, height }, rotation = 0, flip = false } = now;
  const wide = Math.floor(second.videoWidth / by), high = Math.floor(second.videoHeight / by);
  if (now.rotation === undefined && (width !== second.videoWidth || height !== second.videoHeight)) {
    now.close(); // an older browser, which does not say how it is turned
    return;
  }
  const isAsShown = width === wide && height === high && !rotation && !flip;
  const bytes = width * height * 4;
  if (!isAsShown && pixels.length !== bytes) pixels = new Uint8ClampedArray(bytes);
  const whole = await copied(now, isAsShown ? undefined : pixels);
  if (run !== mine || store.has(place)) return;
  store.set(place, isAsShown ? new ImageData(whole, wide, high) : redrawn(whole, width, height, rotation, flip, wide, high));
}

// A frame turned (clockwise, in degrees), mirrored, and then reduced or stretched, as the player shows it. Each pixel is the
// mean of those that it stands for.
function redrawn(from, width, height, rotation, flip, wide, high) {
  // From the corner that is shown at the top left, what one pixel to the right is, and one down.
  const last = width * height;
  let [corner, right, down] = {
    0: [0, 1, width], 90: [last - width, -width, 1], 180: [last - 1, -1, -width], 270: [width - 1, width, -1],
  }[rotation];
  const [across, along] = rotation % 180 ? [height, width] : [width, height];
  if (flip) [corner, right] = [corner + (across - 1) * right, -right];
  const image = new ImageData(wide, high), { data } = image;
  for (let y = 0, place = 0; y < high; y += 1) {
    const top = Math.floor((y * along) / high), bottom = Math.max(top + 1, Math.floor(((y + 1) * along) / high));
    for (let x = 0; x < wide; x += 1, place += 4) {
      const left = Math.floor((x * across) / wide), end = Math.max(left + 1, Math.floor(((x + 1) * across) / wide));
      let red = 0, green = 0, blue = 0;
      for (let row = top; row < bottom; row += 1) {
        for (let column = left; column < end; column += 1) {
          const at = (corner + row * down + column * right) * 4;
          red += from[at];
          green += from[at + 1];
          blue += from[at + 2];
        }
      }
      const count = (bottom - top) * (end - left);
      data[place] = red / count;
      data[place + 1] = green / count;
      data[place + 2] = blue / count;
      data[place + 3] = 255;
    }
  }
  return image;
}

// Show a frame that is kept; whether it was.
export function showStill(frame) {
  const picture = store.get(frame);
  if (!picture) return false;
  const { width, height } = picture;
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d", { willReadFrequently: true }).putImageData(picture, 0, 0);
  canvas.hidden = false;
  shown = frame;
  return true;
}
export function hideStill() {
  canvas.hidden = true;
  shown = null;
}
export const kept = () => [...store.keys()].sort((a, b) => a - b);
