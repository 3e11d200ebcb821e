// The timeline: one canvas for what is labelled, one above it for the playhead, one for the whole video.

import { clock, find, firstIndex, sharpen } from "./dom.js";
import { player } from "./player.js";
import { follow, isPending, labelOf, segments, setting, state } from "./state.js";

export const RULER = 20, LANE = 24, BAR = 16, REVIEWED = 18, WAVE = 30, OVERVIEW = 26;
export const NAMES = 132; // pixels for the names of lanes
const SHORTEST = 12; // frames in view at most magnification
const TICKS = [0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

const box = find("#timeline");
const canvas = find("#lanes");
const top = find("#playhead");
const overview = find("#overview");
let colours = {};
export let wave = null; // { from, to, min, max }
export const drag = { ghost: null }; // what the mouse draws: { lane, from, to } or { box: [x, y, x, y] }
export let lanes = []; // { label, subject, name }

export const width = () => Math.max(50, box.clientWidth - NAMES);
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
export const laneOf = (item) => lanes.findIndex((lane) => lane.label === item.label && (lane.subject === undefined || lane.subject === (item.subject ?? null)));

export function setView(from, to) {
  const whole = total();
  const shortest = Math.min(whole, (SHORTEST * whole) / (state.frames?.count || 1000));
  let span = Math.max(shortest, Math.min(whole, to - from));
  const start = Math.max(0, Math.min(whole - span, from));
  state.view = { from: start, to: start + span };
  scheduled();
}
export function zoom(factor, at = state.frames ? state.frames.edges[state.frame] : state.view.from) {
  const span = (state.view.to - state.view.from) * factor;
  const share = Math.max(0, Math.min(1, (at - state.view.from) / (state.view.to - state.view.from)));
  setView(at - span * share, at + span * (1 - share));
}
export function reveal(time) {
  const { from, to } = state.view;
  if (time < from || time > to) setView(time - (to - from) * 0.2, time + (to - from) * 0.8);
}

export function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["text", "soft", "line", "lane", "panel", "accent", "faint", "reviewed"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
  patterns.clear();
  scheduled();
}

// Colours of labels: black would vanish in the dark.
const isDark = () => document.documentElement.dataset.theme === "dark";
export const colourOf = (label) => (label?.color === "#000000" && isDark() ? "#C8C8C8" : label?.color || "#888888");
const patterns = new Map();
function fillOf(pen, label, hatched) {
  const colour = colourOf(label);
  if (!hatched) return colour;
  if (!patterns.has(colour)) {
    const tile = new OffscreenCanvas(8, 8);
    const ink = tile.getContext("2d");
    ink.fillStyle = colour;
    ink.fillRect(0, 0, 8, 8);
    ink.strokeStyle = colours.panel;
    ink.lineWidth = 2;
    for (const shift of [-8, 0, 8]) {
      ink.beginPath();
      ink.moveTo(shift, 8);
      ink.lineTo(shift + 8, 0);
      ink.stroke();
    }
    patterns.set(colour, pen.createPattern(tile, "repeat"));
  }
  return patterns.get(colour);
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

export function draw() {
  if (!state.project || !state.video) return;
  layOut();
  const wide = box.clientWidth;
  const tall = Math.max(reviewedTop() + REVIEWED + 4, 60);
  const pen = sharpen(canvas, wide, tall);
  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  drawRuler(pen, wide, tall);
  if (wave) drawWave(pen);
  drawLanes(pen, wide);
  drawReviewed(pen, wide, reviewedTop(), REVIEWED - 6, state.view);
  pen.save();
  pen.beginPath();
  pen.rect(NAMES, 0, wide - NAMES, tall);
  pen.clip();
  drawSegments(pen);
  if (drag.ghost) drawGhost(pen);
  pen.restore();
  drawOverview();
  drawPlayhead();
}

function drawRuler(pen, wide, tall) {
  const step = TICKS.find((tick) => tick * perSecond() >= 70) || 3600;
  pen.strokeStyle = colours.line;
  pen.fillStyle = colours.soft;
  pen.lineWidth = 1;
  for (let tick = Math.ceil(state.view.from / step) * step; tick <= state.view.to; tick += step) {
    const x = Math.round(xOf(tick)) + 0.5;
    pen.beginPath();
    pen.moveTo(x, 4);
    pen.lineTo(x, tall);
    pen.stroke();
    pen.fillText(clock(tick, step < 1 ? 2 : 0), x + 4, RULER / 2);
  }
}

function drawWave(pen) {
  const middle = RULER + WAVE / 2;
  pen.fillStyle = colours.faint;
  const { from, to, min, max } = wave;
  for (let column = 0; column < min.length; column += 1) {
    const x = xOf(from + ((to - from) * column) / min.length);
    if (x < NAMES) continue;
    const high = (max[column] / 128) * (WAVE / 2 - 2), low = (min[column] / 128) * (WAVE / 2 - 2);
    pen.fillRect(x, middle - high, 1, Math.max(1, high - low));
  }
}

function drawLanes(pen, wide) {
  lanes.forEach((lane, place) => {
    const y = laneTop(place);
    if (place % 2 === 0) {
      pen.fillStyle = colours.lane;
      pen.fillRect(0, y, wide, LANE);
    }
    const label = labelOf(lane.label);
    pen.fillStyle = fillOf(pen, label, label?.pattern === "hatched");
    pen.fillRect(8, y + LANE / 2 - 5, 10, 10);
    pen.fillStyle = colours.text;
    pen.fillText(fitted(pen, lane.name, NAMES - 34), 24, y + LANE / 2 + 1);
  });
  pen.fillStyle = colours.soft;
  pen.fillText("reviewed", 24, reviewedTop() + (REVIEWED - 6) / 2);
}
function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let short = text;
  while (short && pen.measureText(`${short}…`).width > room) short = short.slice(0, -1);
  return `${short}…`;
}

function drawReviewed(pen, wide, y, high, view) {
  const scale = (wide - NAMES) / (view.to - view.from);
  const place = (time) => NAMES + Math.max(0, Math.min(1, (time - view.from) / (view.to - view.from))) * (wide - NAMES);
  pen.fillStyle = fillOf(pen, { color: colours.faint }, true);
  pen.fillRect(NAMES, y, wide - NAMES, high);
  pen.fillStyle = colours.reviewed;
  for (const [start, end] of state.reviewed) {
    if (end > view.from && start < view.to) pen.fillRect(place(start), y, Math.max(1, place(end) - place(start)), high);
  }
  return scale;
}

// Only what is in view, found by binary search; the longest segment tells how far back to look.
function visible(list) {
  const longest = longestOf(list);
  const from = firstIndex(list.length, (place) => list[place].segment[0] >= state.view.from - longest);
  const to = firstIndex(list.length, (place) => list[place].segment[0] > state.view.to);
  return list.slice(from, to).filter((item) => item.segment[1] >= state.view.from);
}
let measured = { list: null, longest: 0 };
function longestOf(list) {
  if (measured.list !== list) measured = { list, longest: list.reduce((most, item) => Math.max(most, item.segment[1] - item.segment[0]), 0) };
  return measured.longest;
}

function drawSegments(pen) {
  const places = new Map(lanes.map((lane, place) => [`${lane.label}\n${lane.subject === undefined ? "*" : lane.subject ?? ""}`, place]));
  const bySubject = lanes.some((lane) => lane.subject !== undefined);
  const drawn = new Float64Array(lanes.length); // to which pixel each lane is drawn: what would add none is left out
  for (const item of visible(segments())) {
    const lane = places.get(`${item.label}\n${bySubject ? item.subject ?? "" : "*"}`);
    if (lane === undefined) continue;
    const right = xOf(item.segment[1]);
    if (right < drawn[lane] + 0.5 && item.kind === "state" && !isPending(item) && !state.selected.has(item.id)) continue;
    drawItem(pen, item, laneTop(lane) + (LANE - BAR) / 2);
    drawn[lane] = Math.max(drawn[lane], right);
  }
  for (const bout of state.open.values()) {
    const lane = laneOf(bout);
    if (lane < 0 || !state.frames) continue;
    const [start, end] = [state.frames.edges[Math.min(bout.first, state.frame)], state.frames.edges[Math.max(bout.first, state.frame) + 1]];
    const label = labelOf(bout.label);
    const y = laneTop(lane) + (LANE - BAR) / 2;
    pen.fillStyle = fillOf(pen, label, label?.pattern === "hatched");
    pen.fillRect(xOf(start), y, Math.max(2, xOf(end) - xOf(start)), BAR);
    pen.fillStyle = "#d22";
    pen.fillRect(xOf(end) - 1, y - 2, 3, BAR + 4);
  }
}

function drawItem(pen, item, y) {
  const label = labelOf(item.label);
  const left = xOf(item.segment[0]);
  const isSelected = state.selected.has(item.id);
  if (item.kind === "point") {
    pen.fillStyle = colourOf(label);
    pen.beginPath();
    pen.moveTo(left, y);
    pen.lineTo(left + 6, y + BAR / 2);
    pen.lineTo(left, y + BAR);
    pen.lineTo(left - 6, y + BAR / 2);
    pen.closePath();
    if (!isPending(item)) pen.fill();
    outline(pen, isSelected, isPending(item), label);
    return;
  }
  const wide = Math.max(2, xOf(item.segment[1]) - left);
  if (isPending(item)) pen.globalAlpha = 0.35;
  else if (item.by && item.by !== state.project.person) pen.globalAlpha = 0.5; // another person's
  pen.fillStyle = fillOf(pen, label, label?.pattern === "hatched");
  pen.fillRect(left, y, wide, BAR);
  pen.globalAlpha = 1;
  if (isSelected || isPending(item)) {
    pen.beginPath();
    pen.rect(left + 0.5, y + 0.5, wide - 1, BAR - 1);
    outline(pen, isSelected, isPending(item), label);
  } else if (wide > 4) {
    pen.fillStyle = colours.panel; // touching bouts stay two
    pen.fillRect(left, y, 1, BAR);
  }
  if (isPending(item) && wide > 26) {
    pen.fillStyle = colours.text;
    pen.font = "11px system-ui, sans-serif";
    pen.fillText((item.score ?? 0).toFixed(2).replace("0.", "."), left + 4, y + BAR / 2 + 1);
  }
  if (isSelected && state.edge && state.selected.size === 1) {
    pen.fillStyle = colours.accent;
    const x = state.edge === "start" ? left : left + wide;
    pen.fillRect(x - 2, y - 4, 4, BAR + 8);
  }
}
function outline(pen, isSelected, isDashed, label) {
  pen.lineWidth = isSelected ? 2.5 : 1.5;
  pen.strokeStyle = isSelected ? colours.text : colourOf(label);
  pen.setLineDash(isDashed ? [4, 3] : []);
  pen.stroke();
  pen.setLineDash([]);
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
  const wide = box.clientWidth;
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
  const wide = box.clientWidth;
  const tall = canvas.clientHeight;
  const pen = sharpen(top, wide, tall);
  const time = state.frames ? state.frames.edges[state.frame] : 0;
  if (!player.paused && (time > state.view.to || time < state.view.from)) {
    const span = state.view.to - state.view.from;
    setView(time, time + span);
  }
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
new ResizeObserver(scheduled).observe(box);
