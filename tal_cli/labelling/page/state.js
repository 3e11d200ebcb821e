// What the page knows, and those who follow it.

import { client, get, outbox } from "./api.js";
import { say } from "./dom.js";

export const state = {
  project: null, // of GET /api/project
  video: null, // its summary: the current one
  frames: null, // Frames of the current video, once they are known
  annotations: new Map(),
  suggestions: new Map(), // undecided and rejected ones
  reviewed: [], // ranges in seconds
  selected: new Set(), // ids
  edge: null, // null, "start" or "end": which edge of the selection is held
  subject: null,
  recording: true,
  frame: 0, // on screen
  open: new Map(), // bouts that have begun: key -> { id, label, subject, first, depth }
  depth: 0, // changes that undo would take back one by one, since the video was opened
};

const followers = new Set();
let announced = 0;
// Call a function after changes, once a picture.
export function follow(follower) {
  followers.add(follower);
}
export function changed() {
  if (!announced) announced = requestAnimationFrame(tellAll);
}
function tellAll() {
  announced = 0;
  followers.forEach((follower) => follower());
}

export const DEFAULTS = { step: 1, big: 10, far: 10, reaction: 0, pad: 0, lanes: "label", keys: {} };
export const setting = (name) => state.project?.settings?.[name] ?? DEFAULTS[name];
export const labelOf = (name) => state.project.labels.find((label) => label.name === name);
export const itemOf = (id) => state.annotations.get(id) || state.suggestions.get(id);
export const isPending = (item) => item.status === "pending" && state.suggestions.has(item.id);

// The one selected thing, or null.
export function chosen() {
  return state.selected.size === 1 ? itemOf([...state.selected][0]) || null : null;
}
export function select(ids) {
  const wanted = new Set(ids);
  if (wanted.size !== state.selected.size || [...wanted].some((id) => !state.selected.has(id))) state.edge = null;
  state.selected = wanted;
  changed();
}

// All segments in order of time: annotations, and undecided suggestions.
let ordered = null;
export function segments() {
  if (!ordered) {
    const pending = [...state.suggestions.values()].filter((item) => item.status === "pending");
    ordered = [...state.annotations.values(), ...pending].sort((a, b) =>
      a.segment[0] - b.segment[0] || a.segment[1] - b.segment[1] || (a.id < b.id ? -1 : 1));
  }
  return ordered;
}
export function segmentsChanged() {
  ordered = null;
  changed();
}

const MAPS = { annotation: "annotations", suggestion: "suggestions" };

// Changes that the server made: its word is the last, except where a newer change waits to be sent.
export function take(edits) {
  for (const { what, video, id, after } of edits) {
    if (what === "labels") state.project.labels = after;
    else if (what === "subjects") state.project.subjects = after;
    if (!state.video || video !== state.video.name) continue;
    if (what === "reviewed") state.reviewed = after ?? [[0, state.frames?.duration ?? state.video.duration]];
    else if (MAPS[what] && !outbox.concerns(id)) {
      if (after) state[MAPS[what]].set(id, after);
      else {
        state[MAPS[what]].delete(id);
        if (!itemOf(id)) state.selected.delete(id);
      }
    }
  }
  segmentsChanged();
}

// Ask for changes: they are shown at once, and then as the server made them.
export function change(ops, { quiet = false, told = answered } = {}) {
  const { video } = state;
  for (const op of ops) show(op);
  segmentsChanged();
  if (!quiet) state.depth += 1;
  outbox.add(video.id, ops, { quiet, answered: (answer, error, item) => {
    if (error && !quiet && state.video === video) state.depth -= 1;
    told(answer, error, item);
  } });
}
let isBehind = false; // another window changed something while a change of it waited for its answer
// The server's answer to a change, or its error.
export function answered(answer, error, item) {
  if (answer) {
    take(answer.edits);
    if (answer.snapped) say("the times were moved to the edges of frames");
    if (isBehind && !outbox.waiting.length) {
      isBehind = false;
      reload();
    }
  } else if (error.status === 409 && error.content.newer) followersOfConflicts.forEach((tell) => tell(error, item));
  else {
    say(error.message, "error");
    if (state.video?.id === item.video) reload();
  }
}
const followersOfConflicts = new Set();
export const onConflict = (tell) => followersOfConflicts.add(tell);

function show(op) {
  if (op.op === "add") state.annotations.set(op.id, { kind: "state", modifiers: [], comment: "", ...op });
  if (op.op === "delete") {
    state.annotations.delete(op.id);
    state.selected.delete(op.id);
  }
  if (op.op === "update") {
    const { op: _, ...keys } = op;
    const map = state.annotations.has(op.id) ? state.annotations : state.suggestions;
    map.set(op.id, { ...map.get(op.id), ...keys });
  }
  if (op.op === "decide") {
    const item = state.suggestions.get(op.id);
    if (!item) return;
    if (op.status === "rejected") state.suggestions.set(op.id, { ...item, status: "rejected" });
    else {
      state.suggestions.delete(op.id);
      state.annotations.set(op.id, { ...item, ...op, status: op.status });
    }
  }
  if (op.op === "reviewed") {
    if (op.add) state.reviewed = joined([...state.reviewed, op.add]);
    if (op.remove) state.reviewed = without(state.reviewed, op.remove);
  }
}

export function joined(ranges) {
  const done = [];
  for (const [start, end] of [...ranges].sort((a, b) => a[0] - b[0])) {
    const last = done[done.length - 1];
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else if (end > start) done.push([start, end]);
  }
  return done;
}
export function without(ranges, [first, last]) {
  return ranges.flatMap(([start, end]) => [[start, Math.min(end, first)], [Math.max(start, last), end]].filter(([a, b]) => a < b));
}

export async function readProject() {
  const project = await get("/api/project");
  state.project = project;
  if (state.video) state.video = project.videos.find((video) => video.id === state.video.id) || state.video;
  changed();
  return project;
}

// Read the current video's annotations again.
export async function reload() {
  const video = state.video;
  let contents;
  do {
    contents = await get(`/api/videos/${video.id}`);
    if (state.video?.id !== video.id) return;
  } while (contents.revision < outbox.revision); // a change came meanwhile
  state.annotations = new Map(contents.annotations.map((item) => [item.id, item]));
  state.suggestions = new Map(contents.suggestions.map((item) => [item.id, item]));
  state.reviewed = contents.reviewed ?? [[0, contents.duration ?? video.duration ?? 0]];
  outbox.revision = Math.max(outbox.revision, contents.revision);
  for (const id of state.selected) if (!itemOf(id)) state.selected.delete(id);
  segmentsChanged();
}

// What other windows and jobs do.
export function receive(event) {
  if (state.isSilent !== (event.event === "silent")) {
    state.isSilent = event.event === "silent";
    changed();
  }
  if (event.event === "change") {
    outbox.revision = Math.max(outbox.revision, event.revision);
    if (event.client !== client) {
      take(event.edits);
      isBehind ||= event.edits.some(({ id }) => outbox.concerns(id));
    }
  }
  else if (event.event === "reload" || event.event === "suggestions") {
    readProject();
    if (state.video) reload();
  } else if (event.event === "saved") {
    state.project.saved = event.at;
    state.project.problem = "";
    changed();
  } else if (event.event === "unsaved") {
    state.project.problem = event.problem;
    changed();
  }
}
