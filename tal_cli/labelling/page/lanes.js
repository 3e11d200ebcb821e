// What the page shows on its timeline: lanes of segments, ranges reviewed, sound; and the whole video above them.

import { hatched } from "./bars.js";
import { find, sharpen } from "./dom.js";
import { shortened } from "./names.js";
import { colours, drawOpen, drawSegments, fillOf, LANE, laneOf as laneIn, readPalette } from "./segments.js";
import { follow, labelOf, segments, setting, state } from "./state.js";
import { makeTimeline } from "./timeline.js";
import { player } from "./video.js";

export { LANE } from "./segments.js";
const REVIEWED = 18, WAVE = 30, OVERVIEW = 26;
export const NAMES = 132; // pixels for the names of lanes
const SHORTEST = 12; // frames in view at most magnification
const FONT = "12px system-ui, sans-serif";

const overview = find("#overview");
let wave = null; // { from, to, min, max }
export const drag = { ghost: null }; // what the mouse draws: { lane, from, to } or { box: [x, y, x, y] }
export let lanes = []; // { label, subject, name }

export const total = () => state.frames?.duration || state.video?.duration || 10;
const lanesTop = () => (state.video?.sound ? WAVE : 0);
export const laneTop = (lane) => lanesTop() + lane * LANE;
export const reviewedTop = () => laneTop(lanes.length) + 3;
export const laneAt = (y) => {
  const lane = Math.floor((y - lanesTop()) / LANE);
  return lane >= 0 && lane < lanes.length ? lane : -1;
};
export const laneOf = (item) => laneIn(item, lanes);

let onView = () => {};
export const viewWith = (follower) => { onView = follower; };
export const timeline = makeTimeline({
  area: find("#area"), scroller: find("#scroll"), left: NAMES, colours,
  attributes: { id: "lanes", role: "img", "aria-label": "Segments of all labels; ↓ and ↑ select them" },
  whole: total,
  shortest: () => (SHORTEST * total()) / (state.frames?.count || 1000),
  height: () => reviewedTop() + REVIEWED + 4,
  frame: () => (state.frames ? [state.frames.edges[state.frame], state.frames.edges[state.frame + 1]] : [0, 0]),
  isPlaying: () => !player.paused,
  onView: () => onView(),
  looks: () => [state.video, segments(), state.selected, state.edge, state.reviewed, state.project, state.project?.labels, state.frames, setting("lanes"), drag.ghost, wave, revision],
  arrange: layOut,
  paint,
  paintMoving: (pen) => { if (state.open.size && state.frames) drawOpen(pen, geometry()); },
});

// The lane of a segment comes into sight.
export function revealLane(item) {
  const lane = laneOf(item);
  if (lane >= 0) timeline.revealLane(laneTop(lane), laneTop(lane + 1));
}

let revision = 0; // of the colours
export function readColours() {
  readPalette();
  revision += 1;
  timeline.schedule();
}
follow(timeline.schedule);

function layOut() {
  if (!state.project) return;
  const names = state.project.labels;
  if (setting("lanes") === "subject" && state.project.subjects.length) {
    lanes = [...state.project.subjects, null].flatMap((subject) => names.map((label) => (
      { label: label.name, subject, name: subject === null ? label.name : `${subject} · ${label.name}` })));
    const used = new Set(segments().filter((item) => !item.subject).map((item) => item.label));
    lanes = lanes.filter((lane) => lane.subject !== null || used.has(lane.label));
  } else lanes = names.map((label) => ({ label: label.name, name: label.name }));
}
const geometry = () => ({ lanes, topOf: laneTop, x: timeline.x, view: timeline.view });

function paint(pen) {
  if (!state.video) return;
  const right = NAMES + timeline.width;
  pen.font = FONT;
  pen.textBaseline = "middle";
  if (state.video.sound) drawWave(pen);
  drawLanes(pen);
  drawReviewed(pen, reviewedTop(), REVIEWED - 6, timeline.view);
  pen.beginPath();
  pen.rect(NAMES, 0, right - NAMES, reviewedTop() + REVIEWED);
  pen.clip();
  drawSegments(pen, geometry());
  if (drag.ghost) drawGhost(pen);
  drawOverview();
}

function drawWave(pen) {
  const middle = WAVE / 2;
  pen.fillStyle = colours.soft;
  pen.fillText("sound", 24, middle);
  if (!wave) return;
  const { from, to, min, max } = wave, { view } = timeline;
  const step = (to - from) / min.length;
  const first = Math.max(0, Math.floor((view.from - from) / step)), end = Math.min(min.length, Math.ceil((view.to - from) / step));
  const scale = (WAVE / 2 - 2) / 128, wide = Math.max(1, step * timeline.perSecond);
  pen.fillStyle = colours.faint;
  pen.beginPath();
  for (let column = first; column < end; column += 1) {
    pen.rect(Math.max(NAMES, timeline.x(from + step * column)), middle - max[column] * scale, wide, Math.max(1, (max[column] - min[column]) * scale));
  }
  pen.fill();
}

function drawLanes(pen) {
  const short = shortened(lanes.map((lane) => lane.name), (text) => pen.measureText(text).width <= NAMES - 34);
  lanes.forEach((lane, place) => {
    const y = laneTop(place);
    if (place % 2 === 0) {
      pen.fillStyle = colours.lane;
      pen.fillRect(0, y, NAMES + timeline.width, LANE);
    }
    const label = labelOf(lane.label);
    pen.fillStyle = fillOf(pen, label);
    pen.fillRect(8, y + LANE / 2 - 5, 10, 10);
    pen.fillStyle = colours.text;
    pen.fillText(short.get(lane.name), 24, y + LANE / 2 + 1);
  });
  pen.fillStyle = colours.soft;
  pen.fillText("reviewed", 24, reviewedTop() + (REVIEWED - 6) / 2);
}
function drawReviewed(pen, y, high, view) {
  const wide = timeline.width;
  const place = (time) => NAMES + Math.max(0, Math.min(1, (time - view.from) / (view.to - view.from))) * wide;
  pen.fillStyle = hatched(pen, colours.faint, colours.panel);
  pen.fillRect(NAMES, y, wide, high);
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
  else pen.fillRect(timeline.x(Math.min(from, to)), laneTop(lane) + 2, Math.abs(timeline.x(to) - timeline.x(from)), LANE - 4);
}

let kept = { key: "" };
function drawOverview() {
  const whole = total(), room = timeline.width;
  const pen = sharpen(overview, NAMES + room, OVERVIEW);
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
  drawReviewed(pen, OVERVIEW - 5, 4, { from: 0, to: whole });
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 2;
  const left = NAMES + (timeline.view.from / whole) * room, right = NAMES + (timeline.view.to / whole) * room;
  pen.strokeRect(left + 1, 1, Math.max(4, right - left - 2), OVERVIEW - 2);
  pen.font = FONT;
  pen.textBaseline = "middle";
  pen.fillStyle = colours.soft;
  pen.fillText("whole video", 24, OVERVIEW / 2);
}

export function setWave(found) {
  wave = found;
  timeline.schedule();
}
