// The timeline: one canvas for what is labelled, one above it for the playhead, one for the whole video.

import { colours, drawOpen, drawSegments, fillOf, LANE, laneOf as laneIn, readPalette } from "./bars.js";
import { find, sharpen } from "./dom.js";
import { player } from "./player.js";
import { drawRuler, fitted, zoomed } from "./span.js";
import { follow, labelOf, segments, setting, state } from "./state.js";

export { LANE } from "./bars.js";
export const RULER = 20;
const REVIEWED = 18, WAVE = 30, OVERVIEW = 26;
export const NAMES = 132; // pixels for the names of lanes
const SHORTEST = 12; // frames in view at most magnification

const box = find("#timeline");
const canvas = find("#lanes");
const top = find("#playhead");
const overview = find("#overview");
export let wave = null; // { from, to, min, max }
export const drag = { ghost: null }; // what the mouse draws: { lane, from, to } or { box: [x, y, x, y] }
export let lanes = []; // { label, subject, name }

let outer = box.clientWidth; // asked for once: asking the browser for a size is slow where much is drawn
export const width = () => Math.max(50, outer - NAMES);
export const perSecond = () => width() / (state.view.to - state.view.from);
export const xOf = (time) => NAMES + (time - state.view.from) * perSecond();
export const timeAt = (x) => state.view.from + (x - NAMES) / perSecond();
export const total = () => state.frames?.duration || state.video?.duration || 10;
const lanesTop = () => RULER + (wave ? WAVE : 0);
export const laneTop = (lane) => lanesTop() + lane * LANE;
export const reviewedTop = () => laneTop(lanes.length) + 3;
export const laneAt = (y) => {
  const lane = Math.floor((y - lanesTop()) / LANE);
  return lane >= 0 && lane < lanes.length ? lane : -1;
};
export const laneOf = (item) => laneIn(item, lanes);

let onView = () => {};
export const viewWith = (follower) => { onView = follower; };
const shortest = () => (SHORTEST * total()) / (state.frames?.count || 1000);
export function setView(from, to) {
  state.view = fitted(from, to, total(), shortest());
  onView();
  scheduled();
}
export function zoom(factor, at = state.frames ? state.frames.edges[state.frame] : state.view.from) {
  state.view = zoomed(state.view, factor, at, total(), shortest());
  onView();
  scheduled();
}
export function reveal(time) {
  const { from, to } = state.view;
  if (time < from || time > to) setView(time - (to - from) * 0.2, time + (to - from) * 0.8);
}

// The lane of a segment comes into sight.
export function revealLane(item) {
  const lane = laneOf(item), scroller = canvas.parentElement;
  if (lane < 0) return;
  const above = laneTop(lane) - scroller.scrollTop - lanesTop(), below = laneTop(lane + 1) - scroller.scrollTop - scroller.clientHeight;
  if (above < 0) scroller.scrollTop += above;
  else if (below > 0) scroller.scrollTop += below;
}

export function readColours() {
  readPalette();
  revision += 1;
  scheduled();
}

function layOut() {
  const names = state.project.labels;
  if (setting("lanes") === "subject" && state.project.subjects.length) {
    lanes = [...state.project.subjects, null].flatMap((subject) => names.map((label) => (
      { label: label.name, subject, name: subject === null ? label.name : `${subject} · ${label.name}` })));
    const used = new Set(segments().filter((item) => !item.subject).map((item) => item.label));
    lanes = lanes.filter((lane) => lane.subject !== null || used.has(lane.label));
  } else lanes = names.map((label) => ({ label: label.name, name: label.name }));
}

function geometry() {
  const scale = perSecond(), { from } = state.view;
  return { lanes, topOf: laneTop, x: (time) => NAMES + (time - from) * scale };
}

let isScheduled = false;
export function scheduled() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    draw();
  });
}
follow(scheduled);

// What the picture depends on: while nothing of it has changed, only the playhead is drawn.
const looks = () => [segments(), state.view, state.selected, state.edge, state.reviewed, state.project, state.project.labels, state.frames, setting("lanes"), drag.ghost, wave, outer, revision];
let revision = 0; // of the colours
let drawn = [];

export function draw() {
  if (!state.project || !state.video) return;
  const look = looks();
  if (look.every((part, place) => part === drawn[place])) {
    drawPlayhead();
    return;
  }
  drawn = look;
  layOut();
  const wide = outer;
  const tall = Math.max(reviewedTop() + REVIEWED + 4, 60);
  const pen = sharpen(canvas, wide, tall);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  drawRuler(pen, state.view, { left: NAMES, width: width(), ruler: RULER, height: tall, line: colours.line, soft: colours.soft });
  if (wave) drawWave(pen);
  drawLanes(pen, wide);
  drawReviewed(pen, wide, reviewedTop(), REVIEWED - 6, state.view);
  pen.save();
  pen.beginPath();
  pen.rect(NAMES, 0, wide - NAMES, tall);
  pen.clip();
  drawSegments(pen, geometry());
  if (drag.ghost) drawGhost(pen);
  pen.restore();
  drawOverview();
  drawPlayhead();
}

function drawWave(pen) {
  const { from, to, min, max } = wave;
  const step = (to - from) / min.length;
  const first = Math.max(0, Math.floor((state.view.from - from) / step)), end = Math.min(min.length, Math.ceil((state.view.to - from) / step));
  const middle = RULER + WAVE / 2, scale = (WAVE / 2 - 2) / 128, wide = Math.max(1, step * perSecond());
  pen.fillStyle = colours.faint;
  pen.beginPath();
  for (let column = first; column < end; column += 1) {
    pen.rect(Math.max(NAMES, xOf(from + step * column)), middle - max[column] * scale, wide, Math.max(1, (max[column] - min[column]) * scale));
  }
  pen.fill();
}

function drawLanes(pen, wide) {
  lanes.forEach((lane, place) => {
    const y = laneTop(place);
    if (place % 2 === 0) {
      pen.fillStyle = colours.lane;
      pen.fillRect(0, y, wide, LANE);
    }
    const label = labelOf(lane.label);
    pen.fillStyle = fillOf(pen, label);
    pen.fillRect(8, y + LANE / 2 - 5, 10, 10);
    pen.fillStyle = colours.text;
    pen.fillText(shortened(pen, lane.name, NAMES - 34), 24, y + LANE / 2 + 1);
  });
  pen.fillStyle = colours.soft;
  pen.fillText("reviewed", 24, reviewedTop() + (REVIEWED - 6) / 2);
}
function shortened(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let short = text;
  while (short && pen.measureText(`${short}…`).width > room) short = short.slice(0, -1);
  return `${short}…`;
}

function drawReviewed(pen, wide, y, high, view) {
  const place = (time) => NAMES + Math.max(0, Math.min(1, (time - view.from) / (view.to - view.from))) * (wide - NAMES);
  pen.fillStyle = fillOf(pen, { color: colours.faint }, true);
  pen.fillRect(NAMES, y, wide - NAMES, high);
  pen.fillStyle = colours.reviewed;
  for (const [start, end] of state.reviewed) {
    if (end > view.from && start < view.to) pen.fillRect(place(start), y, Math.max(1, place(end) - place(start)), high);
  }
}

function drawGhost(pen) {
  const { lane, from, to, box: area } = drag.ghost;
  pen.fillStyle = `${colours.accent}44`;
  pen.strokeStyle = colours.accent;
  if (area) pen.fillRect(area[0], area[1], area[2] - area[0], area[3] - area[1]);
  else pen.fillRect(xOf(Math.min(from, to)), laneTop(lane) + 2, Math.abs(xOf(to) - xOf(from)), LANE - 4);
}

let kept = { key: "" };
function drawOverview() {
  const wide = outer;
  const pen = sharpen(overview, wide, OVERVIEW);
  const whole = total(), room = wide - NAMES;
  const list = segments();
  // The density changes with the segments only, not with the view.
  if (kept.list !== list || kept.room !== room || kept.whole !== whole) {
    const columns = new Uint16Array(Math.max(1, Math.ceil(room / 2)));
    for (const { segment: [start, end] } of list) {
      const last = Math.min(columns.length - 1, Math.floor((end / whole) * columns.length));
      for (let column = Math.floor((start / whole) * columns.length); column <= last; column += 1) columns[column] += 1;
    }
    kept = { list, room, whole, columns, most: columns.reduce((a, b) => Math.max(a, b), 1) };
  }
  pen.fillStyle = colours.lane;
  pen.fillRect(NAMES, 0, room, OVERVIEW);
  pen.fillStyle = colours.soft;
  kept.columns.forEach((count, column) => {
    const high = (count / kept.most) * (OVERVIEW - 8);
    if (count) pen.fillRect(NAMES + column * 2, OVERVIEW - 6 - high, 2, high);
  });
  drawReviewed(pen, wide, OVERVIEW - 5, 4, { from: 0, to: whole });
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 2;
  const left = NAMES + (state.view.from / whole) * room, right = NAMES + (state.view.to / whole) * room;
  pen.strokeRect(left + 1, 1, Math.max(4, right - left - 2), OVERVIEW - 2);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.fillStyle = colours.soft;
  pen.fillText("whole video", 24, OVERVIEW / 2);
}

// At every frame: nothing else is done then.
export function drawPlayhead() {
  if (!state.video) return;
  const wide = outer;
  const tall = canvas.clientHeight;
  const pen = sharpen(top, wide, tall);
  const time = state.frames ? state.frames.edges[state.frame] : 0;
  if (!player.paused && (time > state.view.to || time < state.view.from)) {
    const span = state.view.to - state.view.from;
    setView(time, time + span);
  }
  if (state.open.size && state.frames) drawOpen(pen, geometry());
  const x = xOf(time);
  if (x < NAMES) return;
  const next = state.frames ? Math.max(1.5, xOf(state.frames.edges[state.frame + 1]) - x) : 1.5;
  if (next > 3) {
    pen.fillStyle = `${colours.accent}33`;
    pen.fillRect(x, 0, next, tall);
  }
  pen.fillStyle = colours.accent;
  pen.fillRect(x - 0.75, 0, 1.5, tall);
}
export function setWave(found) {
  wave = found;
  scheduled();
}
new ResizeObserver(() => {
  outer = box.clientWidth;
  scheduled();
}).observe(box);
