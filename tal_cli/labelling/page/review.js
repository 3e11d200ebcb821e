// What has been looked at: with recording on, what is played at up to ×4 or stepped through becomes reviewed.

import { find, say } from "./dom.js";
import { change, changed, setting, state } from "./state.js";
import { player } from "./video.js";

const FASTEST = 4;
const FLUSH = 2000; // ms, while it goes on
const QUIET = 300; // ms after the last frame

let run = null; // { first, last }: frames seen without a jump
let flushed = 0;
let later = 0;
let painted = null; // the frame from which on F8 marks

export function seen(frame, how) {
  if (!state.recording || !state.frames || (how === "play" && (player.paused ? !run : player.speed > FASTEST))) {
    flush();
    run = null;
    return;
  }
  const limit = how === "step" ? Math.max(1, setting("big")) : Infinity;
  if (run && how !== "jump" && (how === "play" || Math.abs(frame - run.at) <= limit)) {
    run.first = Math.min(run.first, frame);
    run.last = Math.max(run.last, frame);
    run.at = frame;
  } else {
    flush();
    run = { first: frame, last: frame, at: frame, isSent: how === "jump" };
  }
  if (run.last > run.first) run.isSent = false;
  clearTimeout(later);
  if (performance.now() - flushed > FLUSH) flush();
  else later = setTimeout(flush, QUIET);
}

export function flush() {
  flushed = performance.now();
  if (!run || run.isSent || !state.frames) return;
  run.isSent = true;
  const range = [state.frames.edges[run.first], state.frames.edges[run.last + 1]];
  const covered = state.reviewed.some(([start, end]) => start <= range[0] && range[1] <= end);
  if (!covered) change([{ op: "reviewed", add: range }], { quiet: true });
}
export function forget() {
  flush();
  run = null;
  painted = null;
}

export function toggleRecording() {
  flush();
  run = null;
  state.recording = !state.recording;
  seen(player.shown, "jump");
  say(state.recording ? "recording: what is played or stepped through counts as reviewed" : "recording is off");
  changed();
}

// From a frame on reviewed, until called again; or, with "remove" instead of "add", not reviewed.
export function paint(how, frame) {
  if (!state.frames) return;
  const word = how === "add" ? "reviewed" : "not reviewed";
  if (painted === null) {
    painted = frame;
    say(`${word} from frame ${painted} on, until the key is pressed again`);
  } else {
    const [first, last] = [Math.min(painted, frame), Math.max(painted, frame)];
    flush();
    run = null; // what was stepped through meanwhile is not marked again
    change([{ op: "reviewed", [how]: [state.frames.edges[first], state.frames.edges[last + 1]] }]);
    say(`frames ${first} to ${last} are ${word}`);
    painted = null;
  }
  find("#recording").classList.toggle("painting", painted !== null);
}
export const stopPainting = () => {
  const was = painted !== null;
  painted = null;
  find("#recording").classList.remove("painting");
  return was;
};
export function markAll() {
  if (state.frames) change([{ op: "reviewed", add: [0, state.frames.duration] }]);
}
export const share = () => {
  const sum = state.reviewed.reduce((all, [start, end]) => all + end - start, 0);
  const duration = state.frames?.duration || state.video?.duration || 0;
  return duration ? Math.min(1, sum / duration) : 0;
};
