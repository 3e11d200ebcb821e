// Label keys: a tap begins a bout and the next one ends it; held, it lasts from press to release.

import { say, whisper, newId } from "./dom.js";
import { change, changed, chosen, isPending, labelOf, setting, state } from "./state.js";
import { player } from "./video.js";

const HOLD = 350; // ms from which on a press is no tap
const BOUNCE = 80; // ms between presses that are one
const held = new Map(); // code of a key -> { bout, moment }
let last = { code: "", moment: 0 }; // the last press of any key, or the end of a hold

export const keyOf = (label, subject) => `${label}\n${subject ?? ""}`;
const segmentOf = (first, end) => [state.frames.edges[first], state.frames.edges[end]];

// The frame of an event: the one that was on screen.
export const frameOfEvent = (event) => player.frameOnScreen(event.timeStamp, setting("reaction"));

export function press(label, event) {
  if (!state.frames) {
    say("the frames of this video are not known yet", "error");
    return;
  }
  const moment = event.timeStamp;
  if (last.code === event.code && moment - last.moment < BOUNCE) return;
  last = { code: event.code, moment };
  const frame = frameOfEvent(event);
  const key = keyOf(label.name, state.subject);
  if (label.kind === "point") {
    if (player.paused && relabel(label)) return;
    const time = state.frames.edges[frame];
    change([{ op: "add", id: newId(), label: label.name, kind: "point", segment: [time, time], subject: state.subject }]);
    whisper(`${label.name} at frame ${frame}`);
    return;
  }
  const running = state.open.get(key);
  if (running) {
    end(key, frame);
    return;
  }
  if (player.paused && relabel(label)) return;
  endGroup(label, frame);
  const bout = { id: newId(), label: label.name, subject: state.subject, first: frame, depth: state.depth };
  state.open.set(key, bout);
  held.set(event.code, { key, bout, moment });
  keepOpen();
  whisper(`${label.name} begins`);
}

// A key of something else: what follows is no bounce of the key before it.
export function otherKey(event) {
  last = { code: event.code, moment: event.timeStamp };
}

export function release(event) {
  const press = held.get(event.code);
  if (!press) return;
  held.delete(event.code);
  if (event.timeStamp - press.moment < HOLD || state.open.get(press.key) !== press.bout) return;
  last = { code: event.code, moment: event.timeStamp };
  end(press.key, frameOfEvent(event));
}

// The window loses the focus: what is held ends here, as its release may never be told.
export function letGo({ timeStamp }) {
  for (const code of held.keys()) release({ code, timeStamp });
}

// End a bout with a frame, which is its last one.
function end(key, frame) {
  const bout = state.open.get(key);
  const first = Math.min(bout.first, frame), final = Math.max(bout.first, frame); // somebody has gone back meanwhile
  finish(key, first, final + 1);
}
function finish(key, first, edge) {
  const { id, label, subject } = state.open.get(key);
  state.open.delete(key);
  keepOpen();
  change([{ op: "add", id, label, kind: "state", segment: segmentOf(first, edge), subject }]);
  whisper(`${label} ends, ${edge - first} frames`);
}

// Labels of one group end one another: the new one's first frame is where the old one ends.
function endGroup(label, frame) {
  if (!label.group) return;
  for (const [key, bout] of [...state.open]) {
    if (bout.subject !== state.subject || labelOf(bout.label)?.group !== label.group) continue;
    if (frame > bout.first) finish(key, bout.first, frame);
    else dropBout(key);
  }
}

function relabel(label) {
  const item = chosen();
  if (!item) return false;
  if (item.kind !== label.kind) {
    say(`${item.label} is a ${item.kind}, ${label.name} a ${label.kind}`, "error");
    return true;
  }
  if (item.label !== label.name) change([{ op: "update", id: item.id, label: label.name }]);
  if (isPending(item)) say(`${label.name}: Enter accepts it`);
  return true;
}

export function dropBout(key) {
  state.open.delete(key);
  keepOpen();
}
// For undo: the bout that began last, if nothing was changed since; returns its label.
export function dropLast() {
  const [key, bout] = [...state.open].pop() ?? [];
  if (!bout || bout.depth < state.depth) return null;
  dropBout(key);
  return bout.label;
}
export function endAll(frame) {
  for (const key of [...state.open.keys()]) end(key, frame);
}
export function dropAll() {
  for (const key of [...state.open.keys()]) dropBout(key);
}

// Bouts that have begun survive a reload of the page.
const keptName = () => `tal label open ${state.video.id}`;
function keepOpen() {
  changed();
  try {
    if (state.open.size) sessionStorage.setItem(keptName(), JSON.stringify([...state.open]));
    else sessionStorage.removeItem(keptName());
  } catch { /* without it, only a reload costs them */ }
}
export function restoreOpen() {
  const kept = JSON.parse(sessionStorage.getItem(keptName()) || "[]");
  state.open = new Map(kept.map(([key, bout]) => [key, { ...bout, depth: 0 }]));
}
