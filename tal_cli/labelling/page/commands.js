// What the keys and the menus do with segments, frames and videos.

import { outbox, post } from "./api.js";
import { counted, newId, say, whisper } from "./dom.js";
import { revealLane, timeline } from "./lanes.js";
import { dropLast } from "./record.js";
import { change, changed, chosen, isPending, itemOf, readProject, segments, select, setting, state, take } from "./state.js";
import { player } from "./video.js";

const { pause, playPart, show } = player;
const { reveal } = timeline;

const IDLE = 400; // ms after which a nudged edge is sent

// ---- moving

export function step(by, how = "step") {
  if (!state.frames) return;
  if (state.edge) {
    if (!player.part) pause();
    nudge(by);
    return;
  }
  if (!player.paused) pause();
  show(player.target + by, how).then(() => state.frames && reveal(state.frames.edges[state.frame]));
}
export function far(seconds) {
  if (!state.frames) return;
  const time = state.frames.edges[player.target] + seconds;
  goTo(state.frames.at(Math.max(0, Math.min(state.frames.duration, time)) + 1e-6));
}
export function goTo(frame) {
  return show(frame, "jump").then(() => state.frames && reveal(state.frames.edges[state.frame]));
}
export function firstFrame() {
  const item = chosen();
  goTo(item ? state.frames.first(item.segment) : 0);
}
export function lastFrame() {
  const item = chosen();
  goTo(item ? state.frames.last(item.segment) : state.frames.count - 1);
}

// ---- selecting

export function describe(item) {
  const [start, end] = item.segment;
  const who = item.subject ? `${item.label}, ${item.subject}` : item.label;
  const doubt = isPending(item) ? `, suggestion, score ${(item.score ?? 0).toFixed(2)}` : "";
  if (item.kind === "point") return `${who}, ${start.toFixed(2)} seconds, point${doubt}`;
  const frames = state.frames ? state.frames.last(item.segment) - state.frames.first(item.segment) + 1 : 0;
  return `${who}, ${start.toFixed(2)} to ${end.toFixed(2)} seconds, ${frames} frame${frames === 1 ? "" : "s"}${doubt}`;
}
export function choose(item) {
  commitEdge();
  select(item ? [item.id] : []);
  if (!item) return;
  whisper(describe(item));
  revealLane(item);
  if (player.paused || !player.part) goTo(state.frames.first(item.segment));
}
export function nextSegment(by) {
  const list = segments();
  const now = chosen();
  let item;
  if (now) item = list[list.indexOf(now) + by];
  else {
    const time = state.frames.edges[state.frame];
    item = by > 0 ? list.find(({ segment }) => segment[0] >= time - 1e-6) : list.findLast(({ segment }) => segment[0] <= time + 1e-6);
  }
  if (item) choose(item);
  else say(by > 0 ? "no later segment" : "no earlier segment");
}
// One segment more is selected, before or after those that are.
export function extend(by) {
  const list = segments();
  const places = list.flatMap((item, place) => (state.selected.has(item.id) ? [place] : []));
  const item = list[by > 0 ? places[places.length - 1] + 1 : places[0] - 1];
  if (!places.length) nextSegment(by);
  else if (item) selectMany([...state.selected, item.id]);
  else say(by > 0 ? "no later segment" : "no earlier segment");
}
export function selectMany(ids = segments().map((item) => item.id)) {
  commitEdge();
  select(ids);
  say(`${counted(ids.length, "segment")} selected`);
}
export function nextEdge(by) {
  const frames = new Set(segments().flatMap(({ segment }) => [state.frames.first(segment), state.frames.last(segment)]));
  const sorted = [...frames].sort((a, b) => a - b);
  const frame = by > 0 ? sorted.find((one) => one > player.target) : sorted.findLast((one) => one < player.target);
  if (frame === undefined) say(by > 0 ? "no later edge" : "no earlier edge");
  else goTo(frame);
}

// ---- edges

// The start (end) of the selected segment becomes the frame shown.
export function setEdge(which, frame = player.shown) {
  const item = needed();
  if (!item) return;
  const { edges } = state.frames;
  if (item.kind === "point") {
    change([{ op: "update", id: item.id, segment: [edges[frame], edges[frame]] }]);
    return;
  }
  const [first, last] = [state.frames.first(item.segment), state.frames.last(item.segment)];
  if (which === "start" && frame > last) say(`the start cannot be after the end, frame ${last}`, "error");
  else if (which === "end" && frame < first) say(`the end cannot be before the start, frame ${first}`, "error");
  else {
    const segment = which === "start" ? [edges[frame], item.segment[1]] : [item.segment[0], edges[frame + 1]];
    change([{ op: "update", id: item.id, segment }]);
  }
}
function needed() {
  const item = chosen();
  if (!item) say("select one segment first: ↓ or ↑");
  return item;
}

// Enter: holds the start, again the end, again lets go.
export function holdEdge() {
  const item = needed();
  if (!item || !state.frames) return;
  commitEdge();
  state.edge = item.kind === "point" ? (state.edge ? null : "start") : { null: "start", start: "end", end: null }[state.edge];
  if (state.edge) {
    say(`${state.edge} of ${item.label}: ← → move it, Enter ${state.edge === "start" && item.kind !== "point" ? "holds the end" : "lets go"}`);
    edgeFrame(item);
  } else say("let go");
  changed();
}
function edgeFrame(item) {
  if (!player.paused || player.part) return;
  const frame = state.edge === "start" ? state.frames.first(item.segment) : state.frames.last(item.segment);
  show(frame, "jump").then(() => state.frames && reveal(state.frames.edges[frame]));
}

let moved = null; // { id, segment } not sent yet
let timer = 0;
function nudge(by) {
  const item = chosen();
  if (!item) return;
  const { edges, count } = state.frames;
  let [first, last] = [state.frames.first(item.segment), state.frames.last(item.segment)];
  if (item.kind === "point") first = last = Math.max(0, Math.min(count - 1, first + by));
  else if (state.edge === "start") first = Math.max(0, Math.min(last, first + by));
  else last = Math.max(first, Math.min(count - 1, last + by));
  const segment = [edges[first], item.kind === "point" ? edges[first] : edges[last + 1]];
  if (segment[0] === item.segment[0] && segment[1] === item.segment[1]) {
    say("the edge cannot go further");
    return;
  }
  moved = { id: item.id, segment };
  const map = state.annotations.has(item.id) ? state.annotations : state.suggestions;
  map.set(item.id, { ...item, segment });
  take([]);
  if (player.part) Object.assign(player.part, loopOf(itemOf(item.id)));
  edgeFrame(itemOf(item.id));
  clearTimeout(timer);
  timer = setTimeout(commitEdge, IDLE);
}
export function commitEdge() {
  clearTimeout(timer);
  if (!moved) return;
  const { id, segment } = moved;
  moved = null;
  change([{ op: "update", id, segment }]);
}
export function letEdgeGo() {
  commitEdge();
  const was = state.edge !== null;
  state.edge = null;
  changed();
  return was;
}

// ---- segments

export function split(frame = player.shown) {
  const item = needed();
  if (!item) return;
  const [first, last] = [state.frames.first(item.segment), state.frames.last(item.segment)];
  if (item.kind === "point" || isPending(item) || frame <= first || frame > last) {
    say("go to a frame inside the segment, after its first one", "error");
    return;
  }
  const at = state.frames.edges[frame];
  const { label, kind, subject, modifiers, comment } = item;
  const id = newId();
  change([
    { op: "update", id: item.id, segment: [item.segment[0], at] },
    { op: "add", id, label, kind, subject, modifiers, comment, segment: [at, item.segment[1]] },
  ]);
}
export function remove() {
  const items = [...state.selected].map(itemOf).filter(Boolean);
  if (!items.length) {
    say("nothing is selected");
    return;
  }
  change(items.map((item) => (isPending(item) ? { op: "decide", id: item.id, status: "rejected" } : { op: "delete", id: item.id })));
  select([]);
  say(items.length === 1 ? `deleted ${items[0].label}` : `deleted ${items.length} segments`);
}
export function decide(status) {
  const item = chosen();
  if (!item || !isPending(item)) return false;
  commitEdge();
  const list = segments().filter((one) => isPending(one));
  const next = list[list.indexOf(item) + 1] || list.find((one) => one !== item);
  change([{ op: "decide", id: item.id, status }]);
  say(`${status} ${item.label}${next ? "" : "; no more suggestions in this video"}`);
  choose(next || null);
  return true;
}
export function enter() {
  if (!decide("accepted")) holdEdge();
}
export function backspace() {
  if (!decide("rejected")) remove();
}

// The frames of a segment's loop, with some around it where that is set.
function loopOf({ segment: [start, end] }) {
  const pad = setting("pad"), { frames } = state;
  return { first: frames.at(Math.max(0, start - pad) + 1e-6), last: frames.at(Math.min(frames.duration, end + pad) - 1e-6) };
}
export function loop() {
  if (player.part) {
    pause();
    changed();
    return;
  }
  const item = needed();
  if (!item) return;
  const { first, last } = loopOf(item);
  playPart(first, last, true);
  changed();
}

// ---- undo

export async function undo(which) {
  if (which === "undo") {
    const dropped = dropLast();
    if (dropped) {
      say(`undone: the bout of ${dropped} that had begun`);
      return;
    }
  }
  commitEdge();
  const { id } = state.video;
  await outbox.inOrder(() => askServer(which, id).catch((error) => say(error.message, "error")));
}
async function askServer(which, video) {
  const answer = await post(`/api/${which}`, { video, client: outbox.client });
  outbox.revision = Math.max(outbox.revision, answer.revision);
  take(answer.edits);
  if (answer.step && video === state.video?.id) state.depth += which === "undo" ? -1 : 1;
  say(answer.step ? `${which === "undo" ? "undone" : "redone"}: ${answer.step}` : `nothing to ${which}`);
  if (answer.edits.some((edit) => edit.what === "labels" || edit.what === "subjects")) readProject();
}

export function setSubject(place) {
  const { subjects } = state.project;
  if (place > subjects.length) {
    say(`there is no subject ${place}`);
    return;
  }
  state.subject = place ? subjects[place - 1] : null;
  say(state.subject ? `subject: ${state.subject}` : "no subject");
  changed();
}
