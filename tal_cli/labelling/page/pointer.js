// The mouse on the timeline: edges, new segments, selection, zoom, scrubbing.

import { find, make, newId, say } from "./dom.js";
import * as commands from "./commands.js";
import { change, chosen, isPending, segments, select, state, take } from "./state.js";
import { drag, laneAt, lanes, laneOf, laneTop, LANE, NAMES, reviewedTop, timeline, total } from "./lanes.js";
import { player } from "./video.js";

const NEAR = 6; // pixels
const { canvas, position, schedule, timeAt, x: xOf } = timeline;
const { show } = player;
const overview = find("#overview");
const menu = find("#menu");
let doing = null; // what the pointer drags

const edgeAt = (x) => state.frames.nearest(Math.max(0, Math.min(total(), timeAt(x))));

function hit(x, y) {
  const lane = laneAt(y);
  if (lane < 0) return null;
  const here = segments().filter((item) => laneOf(item) === lane);
  const distance = (item) => Math.min(Math.abs(xOf(item.segment[0]) - x), Math.abs(xOf(item.segment[1]) - x));
  const onEdge = here.filter((item) => distance(item) <= NEAR).sort((a, b) => distance(a) - distance(b))[0];
  const item = here.find((one) => state.selected.has(one.id) && inside(one, x)) || here.find((one) => inside(one, x)) || onEdge;
  if (!item) return null;
  if (item.kind === "point") return { item, edge: "both" };
  const [left, right] = item.segment.map(xOf);
  if (Math.min(Math.abs(left - x), Math.abs(right - x)) > NEAR) return { item, edge: null };
  return { item, edge: Math.abs(left - x) <= Math.abs(right - x) ? "start" : "end" };
}
const inside = (item, x) => xOf(item.segment[0]) <= x && x <= Math.max(xOf(item.segment[1]), xOf(item.segment[0]) + 2);

function down(event) {
  if (event.button !== 0 || !state.frames) return;
  hideMenu();
  const [x, y] = position(event);
  if (x < NAMES) return;
  event.preventDefault();
  document.activeElement?.blur?.();
  canvas.setPointerCapture(event.pointerId);
  const found = hit(x, y);
  if (y < 0) doing = { kind: "scrub" };
  else if (event.altKey) doing = { kind: "box", from: [x, y] };
  else if (y >= reviewedTop() - 3) doing = { kind: "review", from: edgeAt(x), wipe: event.shiftKey || isReviewed(timeAt(x)) };
  else if (found?.edge) {
    commands.commitEdge();
    select([found.item.id]);
    doing = { kind: "edge", ...found, segment: [...found.item.segment], partner: partnerOf(found) };
  } else if (found) {
    commands.choose(found.item);
    return;
  } else if (laneAt(y) >= 0) doing = { kind: "new", lane: laneAt(y), from: edgeAt(x) };
  else doing = { kind: "scrub" };
  move(event);
}
const isReviewed = (time) => state.reviewed.some(([start, end]) => start <= time && time < end);

// With Shift both segments that share an edge are moved.
function partnerOf({ item, edge }) {
  const time = item.segment[edge === "end" ? 1 : 0];
  const other = edge === "end" ? 0 : 1;
  return segments().find((one) => one !== item && one.kind === "state" && !isPending(one) && one.segment[other] === time) || null;
}

function move(event) {
  const [x, y] = position(event);
  if (!doing) {
    const found = state.frames && x >= NAMES ? hit(x, y) : null;
    canvas.style.cursor = found?.edge ? "ew-resize" : y < 0 ? "col-resize" : "default";
    return;
  }
  const edge = edgeAt(x);
  const { edges } = state.frames;
  if (doing.kind === "scrub") show(state.frames.at(Math.max(0, timeAt(x))), "jump");
  else if (doing.kind === "box") drag.ghost = { box: [...doing.from, x, y] };
  else if (doing.kind === "new") {
    drag.ghost = { lane: doing.lane, from: edges[doing.from], to: edges[edge] };
    doing.to = edge;
  } else if (doing.kind === "review") {
    doing.to = edge;
    drag.ghost = { box: [xOf(edges[doing.from]), reviewedTop() - 2, x, reviewedTop() + 14] };
  } else if (doing.kind === "edge") moveEdge(x, edge, event.shiftKey);
  schedule();
}
function moveEdge(x, edge, both) {
  const { item, segment } = doing;
  const { edges, count } = state.frames;
  let at = edge;
  // Near the edge of another segment it snaps to that one.
  for (const other of segments()) {
    if (other.id === item.id || other === doing.partner) continue;
    for (const time of other.segment) if (Math.abs(xOf(time) - x) <= NEAR) at = state.frames.nearest(time);
  }
  if (doing.edge === "both") doing.segment = [edges[Math.min(at, count - 1)], edges[Math.min(at, count - 1)]];
  else if (doing.edge === "start") doing.segment = [edges[Math.min(at, state.frames.nearest(segment[1]) - 1)], segment[1]];
  else doing.segment = [segment[0], edges[Math.max(at, state.frames.nearest(segment[0]) + 1)]];
  doing.both = both && doing.partner;
  preview(item, doing.segment);
  if (doing.both) {
    const time = doing.segment[doing.edge === "end" ? 1 : 0];
    doing.partnerSegment = doing.edge === "end" ? [time, doing.partner.segment[1]] : [doing.partner.segment[0], time];
    preview(doing.partner, doing.partnerSegment);
  }
  show(doing.edge === "end" ? state.frames.last(doing.segment) : state.frames.first(doing.segment), "jump");
}
function preview(item, segment) {
  const map = state.annotations.has(item.id) ? state.annotations : state.suggestions;
  map.set(item.id, { ...item, segment });
  take([]);
}

function up(event) {
  const done = doing;
  doing = null;
  drag.ghost = null;
  if (!done) return;
  const { edges } = state.frames;
  const [from, to] = [Math.min(done.from, done.to), Math.max(done.from, done.to)];
  if (done.kind === "edge") {
    const ops = [{ op: "update", id: done.item.id, segment: done.segment }];
    if (done.both) ops.push({ op: "update", id: done.partner.id, segment: done.partnerSegment });
    if (done.segment.some((time, place) => time !== done.item.segment[place])) change(ops);
  } else if (done.kind === "new") {
    const lane = lanes[done.lane];
    const label = state.project.labels.find(({ name }) => name === lane.label);
    const subject = lane.subject === undefined ? state.subject : lane.subject;
    const id = newId();
    if (label.kind === "point") change([{ op: "add", id, label: label.name, kind: "point", segment: [edges[Math.min(done.from, state.frames.count - 1)], edges[Math.min(done.from, state.frames.count - 1)]], subject }]);
    else if (to > from) change([{ op: "add", id, label: label.name, kind: "state", segment: [edges[from], edges[to]], subject }]);
    else {
      select([]);
      show(state.frames.clamp(done.from), "jump");
      return;
    }
    select([id]);
  } else if (done.kind === "review" && to > from) {
    const range = [edges[from], edges[to]];
    change([{ op: "reviewed", [done.wipe ? "remove" : "add"]: range }]);
  } else if (done.kind === "box") {
    const [x, y] = position(event);
    const [left, right] = [Math.min(done.from[0], x), Math.max(done.from[0], x)].map(timeAt);
    const [above, below] = [Math.min(done.from[1], y), Math.max(done.from[1], y)];
    const caught = segments().filter((item) => item.segment[0] < right && item.segment[1] > left
      && laneTop(laneOf(item)) < below && laneTop(laneOf(item)) + LANE > above);
    select(caught.map((item) => item.id));
    say(`${caught.length} selected`);
  }
  schedule();
}

// A segment's menu has all of its commands.
const ENTRIES = [
  ["Accept / hold an edge", "Enter", commands.enter],
  ["Reject / delete", "Backspace", commands.backspace],
  ["Start at the frame shown", "Shift+Home", () => commands.setEdge("start")],
  ["End at the frame shown", "Shift+End", () => commands.setEdge("end")],
  ["Cut in two here", "Ctrl+Enter", () => commands.split()],
  ["Play in a loop", "Shift+Space", commands.loop],
];
let openForm = () => {};
export const formWith = (open) => { openForm = open; };
function showMenu(event) {
  const [x, y] = position(event);
  const found = state.frames && hit(x, y);
  if (!found) return;
  event.preventDefault();
  if (chosen() !== found.item) commands.choose(found.item);
  const entries = [...ENTRIES, ["Form …", "F4", openForm]];
  menu.replaceChildren(...entries.map(([name, key, run]) => make("button", { type: "button", role: "menuitem", onclick: () => { hideMenu(); run(); } }, make("span", {}, name), make("kbd", {}, key))));
  menu.hidden = false;
  menu.style.left = `${Math.min(event.clientX, innerWidth - 240)}px`;
  menu.style.top = `${Math.min(event.clientY, innerHeight - menu.offsetHeight - 8)}px`;
  menu.firstChild.focus();
}
export function hideMenu() {
  menu.hidden = true;
}

function scrub(event) {
  if (!state.frames || (event.type === "pointermove" && !event.buttons)) return;
  const area = overview.getBoundingClientRect();
  const share = (event.clientX - area.left - NAMES) / (area.width - NAMES);
  const time = Math.max(0, Math.min(1, share)) * total();
  const { from, to } = timeline.view;
  timeline.setView(time - (to - from) / 2, time + (to - from) / 2);
  show(state.frames.at(time), "jump");
}

export function listenToPointer() {
  canvas.addEventListener("pointerdown", down);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", () => { doing = null; drag.ghost = null; schedule(); });
  canvas.addEventListener("contextmenu", showMenu);
  overview.addEventListener("pointerdown", scrub);
  overview.addEventListener("pointermove", scrub);
  document.addEventListener("pointerdown", (event) => { if (!menu.contains(event.target)) hideMenu(); });
  menu.addEventListener("keydown", (event) => {
    const items = [...menu.children];
    const place = items.indexOf(document.activeElement);
    if (event.key === "Escape") hideMenu();
    else if (event.key === "ArrowDown") items[(place + 1) % items.length].focus();
    else if (event.key === "ArrowUp") items[(place - 1 + items.length) % items.length].focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
