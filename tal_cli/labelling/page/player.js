// The video: which frame is on screen, moving to a frame, speed, loops.
//
// `currentTime` does not tell the frame on screen. The callback of each presented frame does: its `mediaTime` is the
// frame's own time. To show a frame, the player is sent to the middle of the time for which it is shown.

import { find, say } from "./dom.js";
import { hideStill, openStore, prepare, rest, shown as stillShown, showStill } from "./neighbours.js";
import { changed, state } from "./state.js";

export const SPEEDS = [0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4, 8, 16];
const REMEMBERED = 400; // presented frames
const PROMPT = 25; // ms after a key up to which the frame that the player holds is the one of the key
const TRIES = 3;
const STOPPING = 0.06; // seconds that a player takes to pause
const PATIENCE = 400; // ms to wait for a presented frame after a seek

const video = find("#video");
export const hasCallback = "requestVideoFrameCallback" in HTMLVideoElement.prototype;

export const player = {
  element: video,
  offset: 0, // the player's time of frame 0
  speed: 1,
  get shown() { return stillShown ?? presentedLast; }, // the frame on screen
  isWrong: false, // the player insists on another frame than the one asked for
  loop: null, // { first, last } frames
  onPresented: () => {}, // (frame, how) how: "play", "step", "jump"
  get paused() { return video.paused; },
  get isSeeking() { return seek !== null; },
  // The frame that keys like ← count from.
  get target() { return seek ? (waiting ?? seek).frame : player.shown; },
};

let presentedLast = 0; // the frame that the video element shows
let seek = null; // { frame, how, tries, isSeeked, begun, resolve }
let waiting = null; // the newest one asked for meanwhile
let log = []; // { presented, frame }: frames, and when they were put on screen
let timer = 0;

// The frame that was on screen at a moment (of `performance.now`); `early` ms are taken off while it plays.
//
// The callback of a frame comes up to a picture after the frame: a key pressed in between would count for the frame
// before. So the player is asked which frame it holds, as long as the key is told at once. Where the page was busy
// meanwhile, what counts is when frames were presented; those without their callback yet follow from the last one.
export function frameOnScreen(moment, early = 0) {
  if (!state.frames) return 0;
  const { edges } = state.frames;
  const now = held();
  if (video.paused) return stillShown ?? now ?? presentedLast;
  let frame = now;
  if (now === null || performance.now() - moment > PROMPT) {
    const place = log.findLastIndex((entry) => entry.presented <= moment);
    if (place < 0) frame = now ?? presentedLast;
    else if (place < log.length - 1) frame = log[place].frame;
    else {
      const since = ((moment - log[place].presented) / 1000) * player.speed;
      frame = Math.min(state.frames.at(edges[log[place].frame] + since + 1e-6), now ?? log[place].frame);
    }
  }
  return early ? state.frames.at(Math.max(0, edges[frame] - (early / 1000) * player.speed + 1e-6)) : frame;
}
// The frame that the player holds, by its own time stamp; null where the browser does not tell.
function held() {
  if (!("VideoFrame" in window) || video.readyState < 2) return null;
  try {
    const now = new VideoFrame(video);
    const frame = state.frames.told(now.timestamp / 1e6 - player.offset);
    now.close();
    return frame;
  } catch {
    return null;
  }
}

function presented(now, mediaTime, presentationTime = now) {
  const frames = state.frames;
  if (!frames) return;
  const frame = frames.told(mediaTime - player.offset);
  log.push({ presented: presentationTime, frame });
  if (log.length > REMEMBERED) log = log.slice(-REMEMBERED / 2);
  presentedLast = frame;
  if (seek) settle(frame, now);
  else arrived(frame, "play");
}

function arrived(frame, how) {
  state.frame = frame;
  stand();
  player.onPresented(frame, how);
  const { loop } = player;
  if (loop && how === "play" && !video.paused && (frame >= loop.last - ahead(loop) || frame < loop.first)) again();
}

function stand() {
  if (video.paused && !seek && !waiting && !player.loop && state.frames) prepare(presentedLast, state.frames, player.offset);
}

// The frame of a seek has come, or another one.
function settle(frame, now) {
  if (frame === seek.frame) finish(false);
  else if (seek.isSeeked && now >= seek.begun) miss();
}
function miss() {
  if (seek.tries >= TRIES) {
    finish(true);
    return;
  }
  seek.tries += 1;
  seek.isSeeked = false;
  // A little off the middle: some players do nothing if the time is the same.
  const { edges } = state.frames;
  const nudge = (edges[seek.frame + 1] - edges[seek.frame]) * 0.1 * (seek.tries % 2 ? 1 : -1);
  video.currentTime = state.frames.middle(seek.frame) + nudge + player.offset;
}
function finish(isWrong) {
  const { frame, how, resolve } = seek;
  clearTimeout(timer);
  player.isWrong = isWrong;
  if (isWrong) say(`the player shows frame ${presentedLast} instead of ${frame}`, "error");
  seek = null;
  if (!waiting) hideStill();
  arrived(presentedLast, how);
  resolve();
  if (waiting) {
    const next = waiting;
    waiting = null;
    begin(next);
  }
}
function begin(next) {
  seek = { ...next, tries: 0, isSeeked: false, begun: performance.now() };
  changed();
  video.currentTime = state.frames.middle(seek.frame) + player.offset;
}
video.addEventListener("seeked", () => {
  if (!seek || video.seeking) return;
  seek.isSeeked = true;
  clearTimeout(timer);
  const mine = seek;
  // The frame may have been on screen already: then nothing is presented.
  timer = setTimeout(() => {
    if (seek !== mine) return;
    presentedLast = held() ?? state.frames.at(video.currentTime - player.offset);
    if (presentedLast === seek.frame) finish(false);
    else miss();
  }, hasCallback ? PATIENCE : 0);
});

// Show a frame; resolves when it is on screen. Of several asked for at once only the newest is done.
export function show(frame, how = "jump") {
  if (!state.frames || !video.readyState) {
    state.frame = frame;
    changed();
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    const next = { frame: state.frames.clamp(frame), how, resolve };
    rest();
    if (video.paused && !showStill(next.frame)) hideStill();
    if (!seek) begin(next);
    else {
      waiting?.resolve();
      waiting = next;
    }
  });
}

function watch() {
  if (hasCallback) {
    const each = (now, { mediaTime, presentationTime }) => {
      video.requestVideoFrameCallback(each);
      presented(now, mediaTime, presentationTime);
    };
    video.requestVideoFrameCallback(each);
    return;
  }
  const each = (now) => {
    requestAnimationFrame(each);
    if (!video.paused && !seek && state.frames) presented(now, state.frames.edges[state.frames.at(video.currentTime - player.offset)] + player.offset);
  };
  requestAnimationFrame(each);
}
watch();

export function play() {
  if (!video.readyState) {
    say("there is no video to play yet");
    return;
  }
  rest();
  hideStill();
  video.playbackRate = player.speed;
  video.play().catch(() => {});
}
export function pause() {
  player.loop = null;
  video.pause();
}
export function toggle() {
  if (video.paused) play();
  else pause();
}
export function setSpeed(speed) {
  player.speed = speed;
  try {
    video.playbackRate = speed;
  } catch {
    say(`this browser does not play at ×${speed}`, "error");
  }
  changed();
}
export function changeSpeed(by) {
  const place = SPEEDS.findIndex((speed) => speed >= player.speed - 1e-9);
  setSpeed(SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, place + by))]);
}

// Play from one frame to another, over and over.
export async function playLoop(first, last) {
  video.pause();
  player.loop = { first, last };
  await show(first);
  if (player.loop) play();
}
// Frames before the last one at which a loop is paused: more may come on screen until the player has stopped.
function ahead({ first, last }) {
  const { edges } = state.frames;
  const frame = (edges[last + 1] - edges[first]) / (last + 1 - first);
  return Math.min(last - first, Math.ceil((STOPPING / frame) * player.speed));
}
// The rest is shown frame by frame, so that no frame after the last one comes on screen.
async function again() {
  const { loop } = player;
  video.pause();
  for (let frame = player.shown + 1; player.loop === loop && frame <= loop.last; frame += 1) await show(frame, "step");
  if (player.loop === loop) await show(loop.first);
  if (player.loop === loop) play();
}

// The frames are known now: what is on screen already counts.
export function told(offset) {
  player.offset = offset;
  if (video.readyState > 1) presentedLast = state.frame = state.frames.told(video.currentTime - offset);
  stand();
}
// Another file. Waits for nothing; `loadedmetadata` and `error` tell.
export function open(address, offset) {
  clearTimeout(timer);
  seek?.resolve();
  waiting?.resolve();
  seek = waiting = null;
  log = [];
  presentedLast = 0;
  player.loop = null;
  player.isWrong = false;
  player.offset = offset;
  state.frame = 0;
  openStore(address.startsWith("blob:") ? "" : address); // one player alone can have what grows
  video.src = address;
  video.load();
}
for (const event of ["play", "pause", "ended", "loadeddata"]) video.addEventListener(event, changed);
video.addEventListener("pause", stand);
