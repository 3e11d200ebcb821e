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
let pixels = new Uint8ClampedArray(0); // of a frame that is larger than it is kept
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

// Which frame it is the second player's own time stamp says. Its pixels are copied and reduced here, as browsers keep
// hundreds of megabytes of what is drawn from a player or from another canvas.
async function keep(frames, by, mine) {
  const now = new VideoFrame(second);
  const place = frames.told(now.timestamp / 1e6 - offset);
  const { width, height } = now.visibleRect;
  if (width !== second.videoWidth || height !== second.videoHeight || now.rotation || now.flip) {
    now.close();
    if (!store.has(place)) draw(place, by);
    return;
  }
  const bytes = width * height * 4;
  if (by > 1 && pixels.length !== bytes) pixels = new Uint8ClampedArray(bytes);
  const whole = by > 1 ? pixels : new Uint8ClampedArray(bytes);
  await now.copyTo(whole, { format: "RGBA" }).finally(() => now.close());
  if (run !== mine || store.has(place)) return;
  store.set(place, by > 1 ? reduced(whole, width, height, by) : new ImageData(whole, width, height));
}
// What is turned or stretched, the player alone shows as it should be.
function draw(place, by) {
  const wide = Math.floor(second.videoWidth / by), high = Math.floor(second.videoHeight / by);
  const pen = new OffscreenCanvas(wide, high).getContext("2d", { willReadFrequently: true });
  pen.drawImage(second, 0, 0, wide, high);
  store.set(place, pen.getImageData(0, 0, wide, high));
}
// The means of squares of pixels.
function reduced(from, width, height, by) {
  const wide = Math.floor(width / by), high = Math.floor(height / by);
  const image = new ImageData(wide, high), { data } = image;
  for (let place = 0; place < data.length; place += 1) {
    const at = place >> 2;
    const corner = (Math.floor(at / wide) * width + (at % wide)) * by * 4 + (place & 3);
    let sum = 0;
    for (let y = 0; y < by; y += 1) for (let x = 0; x < by; x += 1) sum += from[corner + (y * width + x) * 4];
    data[place] = sum / by ** 2;
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
