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
let store = new Map(); // frame -> ImageBitmap
let run = 0; // what is under way ends when this changes
let timer = 0;
export let shown = null; // the frame that is drawn over the player, if any

// Another file: what is kept is of no use any more.
export function openStore(address) {
  rest();
  hideStill();
  for (const picture of store.values()) picture.close();
  store = new Map();
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
    const size = sizeOf();
    const each = Math.max(1, Math.min(AROUND, Math.floor((MOST / (size.wide * size.high * 4) - 1) / 2)));
    for (const [place, picture] of store) {
      if (Math.abs(place - frame) <= each) continue;
      picture.close();
      store.delete(place);
    }
    for (let away = 0; away <= each; away += 1) {
      for (const place of away ? [frame - away, frame + away] : [frame]) {
        if (place < 0 || place >= frames.count || store.has(place)) continue;
        second.currentTime = frames.middle(place) + offset;
        await told("seeked");
        if (run !== mine) return;
        await keep(frames, size, mine);
      }
    }
  } catch { /* a browser that does not: steps wait for the player */ }
}
const told = (name) => new Promise((resolve, reject) => {
  second.addEventListener(name, resolve, { once: true });
  second.addEventListener("error", reject, { once: true });
});

// As large as it is on the screen, and no larger than the video.
function sizeOf() {
  const { clientWidth, clientHeight } = canvas.parentElement;
  const scale = Math.min(1, (Math.max(clientWidth / second.videoWidth, clientHeight / second.videoHeight) || 1) * (window.devicePixelRatio || 1));
  return { wide: Math.max(1, Math.round(second.videoWidth * scale)), high: Math.max(1, Math.round(second.videoHeight * scale)) };
}

// Which frame it is the second player's own time stamp says.
async function keep(frames, { wide, high }, mine) {
  const now = new VideoFrame(second);
  const place = frames.told(now.timestamp / 1e6 - offset);
  now.close();
  const picture = await createImageBitmap(second, { resizeWidth: wide, resizeHeight: high });
  if (run === mine && !store.has(place)) store.set(place, picture);
  else picture.close();
}

// Show a frame that is kept; whether it was.
export function showStill(frame) {
  const picture = store.get(frame);
  if (!picture) return false;
  if (canvas.width !== picture.width || canvas.height !== picture.height) [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  canvas.hidden = false;
  shown = frame;
  return true;
}
export function hideStill() {
  canvas.hidden = true;
  shown = null;
}
export const kept = () => [...store.keys()].sort((a, b) => a - b);
