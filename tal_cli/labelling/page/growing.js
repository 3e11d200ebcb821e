// Plays a copy while it is made: what is encoded so far is fed to the player, piece by piece.

import { player } from "./video.js";

let ends = null; // ends what is fed now
export function stopGrowing() {
  ends?.abort();
  ends = null;
}

// Feeds the copy of a video that is being made to the player; resolves when there is something to play, or never will.
export async function playGrowing(id, duration) {
  stopGrowing();
  if (!window.MediaSource) return false;
  ends = new AbortController();
  const { signal } = ends;
  try {
    const answer = await fetch(`/api/videos/${id}/preview`, { signal });
    if (!answer.ok) return false;
    const reader = answer.body.getReader();
    const head = await headOf(reader);
    const source = new MediaSource();
    const address = URL.createObjectURL(source);
    const opened = new Promise((resolve) => { source.addEventListener("sourceopen", resolve, { once: true }); });
    player.open(address);
    await opened;
    URL.revokeObjectURL(address);
    const buffer = source.addSourceBuffer(`video/mp4; codecs="${codecOf(head)}"`);
    source.duration = duration;
    feed(reader, buffer, head).catch(() => {}); // full, or another file is open: the finished copy will come
    return true;
  } catch {
    return false;
  }
}

async function feed(reader, buffer, head) {
  for (let piece = head; piece; piece = (await reader.read()).value) {
    buffer.appendBuffer(piece);
    await new Promise((resolve) => { buffer.addEventListener("updateend", resolve, { once: true }); });
  }
}

// The pieces up to the description of the codec.
async function headOf(reader) {
  let head = new Uint8Array(0);
  while (placeOf(head) < 0) {
    const { value, done } = await reader.read();
    if (done) throw new Error("nothing was encoded");
    const longer = new Uint8Array(head.length + value.length);
    longer.set(head);
    longer.set(value, head.length);
    head = longer;
  }
  return head;
}
const MARK = [...new TextEncoder().encode("avcC")];
const placeOf = (bytes) => bytes.findIndex((_, place) => place + 8 < bytes.length && MARK.every((byte, offset) => bytes[place + offset] === byte));
// Profile, constraints and level follow the version in the box "avcC".
const codecOf = (bytes) => `avc1.${[...bytes.slice(placeOf(bytes) + 5, placeOf(bytes) + 8)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
