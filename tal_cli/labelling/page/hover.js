// Small pictures of the video where the mouse is on the timeline.

import { get } from "./api.js";
import { clock, find } from "./dom.js";
import { NAMES, timeline, total } from "./lanes.js";
import { state } from "./state.js";

const AT_ONCE = 24; // pictures of one request
const REST = 120; // ms that the mouse is still
const MOST = 40; // requests whose pictures are kept
const tip = find("#tip");
const canvas = find("canvas", tip);
const blocks = new Map(); // "video step block" -> promise of pictures
let wanted = ""; // the newest of these keys
let asked = Promise.resolve(); // the newest of these promises
let timer = 0;

// Pictures lie `step` apart, a power of two of seconds: so they serve for neighbouring views as well. One request at a
// time, as each takes a process of the server; of those that wait for it only the newest is made.
async function pictureAt(time, span) {
  const video = state.video.id;
  const step = 2 ** Math.ceil(Math.log2(span / AT_ONCE));
  const length = step * AT_ONCE, block = Math.floor(time / length), from = block * length;
  const key = `${video} ${step} ${block}`;
  wanted = key;
  if (!blocks.has(key)) await asked.catch(() => {});
  if (wanted !== key) return null;
  if (!blocks.has(key)) {
    const count = Math.max(2, Math.min(AT_ONCE, Math.ceil((total() - from) / step)));
    asked = pictures(`/api/videos/${video}/thumbnails?from=${from}&to=${from + count * step}&count=${count}`);
    blocks.set(key, asked);
    if (blocks.size > MOST) forget(blocks.keys().next().value);
  }
  const all = await blocks.get(key);
  return all[Math.min(all.length - 1, Math.floor((time - from) / step))] ?? null;
}
async function pictures(address) {
  const { thumbnails } = await get(address);
  return Promise.all(thumbnails.map((data) => data && createImageBitmap(new Blob([bytes(data)], { type: "image/jpeg" }))));
}
const bytes = (data) => Uint8Array.from(atob(data.slice(data.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
function forget(key) {
  blocks.get(key).then((all) => all.forEach((picture) => picture?.close())).catch(() => {});
  blocks.delete(key);
}

function over(event, time, span) {
  clearTimeout(timer);
  if (event.buttons || !state.frames || time < 0 || time > total()) {
    tip.hidden = true;
    return;
  }
  const frame = state.frames.at(time);
  find("span", tip).textContent = `${clock(state.frames.edges[frame])}  f ${frame}`;
  tip.hidden = false;
  place(event);
  timer = setTimeout(async () => {
    const picture = await pictureAt(time, span).catch(() => null);
    if (tip.hidden || !picture) return;
    [canvas.width, canvas.height] = [picture.width, picture.height];
    canvas.getContext("2d").drawImage(picture, 0, 0);
    canvas.hidden = false;
    place(event);
  }, REST);
}
function place({ clientX, target }) {
  tip.style.left = `${Math.max(4, Math.min(innerWidth - tip.offsetWidth - 4, clientX - tip.offsetWidth / 2))}px`;
  tip.style.bottom = `${innerHeight - target.closest("#timeline").getBoundingClientRect().top + 4}px`;
}

export function listenToHover() {
  const lanes = find("#lanes"), overview = find("#overview");
  const inside = (event, one) => event.clientX - one.getBoundingClientRect().left - NAMES;
  lanes.addEventListener("pointermove", (event) => over(event, timeline.timeAt(inside(event, lanes) + NAMES), timeline.view.to - timeline.view.from));
  overview.addEventListener("pointermove", (event) => over(event, (inside(event, overview) / timeline.width) * total(), total()));
  for (const one of [lanes, overview]) one.addEventListener("pointerleave", () => {
    clearTimeout(timer);
    tip.hidden = true;
    canvas.hidden = true;
  });
}
