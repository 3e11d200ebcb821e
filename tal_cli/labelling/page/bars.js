// The segments of the timeline: their colours, and drawing thousands of them at once.
//
// Most of the time goes into changing a colour, not into a rectangle. So plain bars are collected by their look and
// filled together; only what is selected, suggested or a point is drawn by itself.

import { firstIndex } from "./dom.js";
import { isPending, labelOf, segments, state } from "./state.js";

export const LANE = 24, BAR = 16;
const NARROW = 5; // pixels, up to which a suggestion has no outline
const OTHERS = 0.5, OPEN = 0.35; // how strong another person's bars are, and suggestions
const MARK = "#d22"; // where a bout grows

export const colours = {};
const patterns = new Map();
export function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["text", "soft", "line", "lane", "panel", "accent", "faint", "reviewed"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
  patterns.clear();
}

// Colours of labels: black would vanish in the dark.
const isDark = () => document.documentElement.dataset.theme === "dark";
export const colourOf = (label) => (label?.color === "#000000" && isDark() ? "#C8C8C8" : label?.color || "#888888");
export function fillOf(pen, label, isHatched = label?.pattern === "hatched") {
  const colour = colourOf(label);
  if (!isHatched) return colour;
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

// Only what is in view, found by binary search; the longest segment tells how far back to look.
function visible(list) {
  const { from, to } = state.view;
  const longest = longestOf(list);
  const first = firstIndex(list.length, (place) => list[place].segment[0] >= from - longest);
  const end = firstIndex(list.length, (place) => list[place].segment[0] > to);
  return list.slice(first, end).filter((item) => item.segment[1] >= from);
}
let measured = { list: null, longest: 0 };
function longestOf(list) {
  if (measured.list !== list) measured = { list, longest: list.reduce((most, item) => Math.max(most, item.segment[1] - item.segment[0]), 0) };
  return measured.longest;
}

// lanes: { label, subject }, topOf: of a lane's number, x: of a time, both in pixels.
export function drawSegments(pen, { lanes, topOf, x }) {
  const bySubject = lanes.some((lane) => lane.subject !== undefined);
  const keyOf = (label, subject) => (bySubject ? `${label}\n${subject ?? ""}` : label);
  const places = new Map(lanes.map((lane, place) => [keyOf(lane.label, lane.subject), place]));
  const plain = new Map(); // look -> { label, strength, rows: [left, top, width, ...] }
  const special = [];
  const edges = []; // where touching bouts stay two
  const drawn = new Float64Array(lanes.length); // to which pixel each lane is drawn: what would add none is left out
  const taken = lanes.map(() => []); // states of each lane: where they are, a suggestion has the lower half
  const found = visible(segments());
  for (const item of [...found.filter((one) => !isPending(one)), ...found.filter(isPending)]) {
    const lane = places.get(keyOf(item.label, item.subject));
    if (lane === undefined) continue;
    const [start, end] = item.segment;
    const left = x(start), right = x(end);
    const wide = Math.max(2, right - left);
    const isOpen = isPending(item), isState = item.kind === "state";
    // So does a bout that begins before the one before it ends: that of another subject.
    const there = taken[lane];
    const isUnder = isState && (isOpen ? there.some((other) => other[0] < end && start < other[1]) : there.length > 0 && start < there[there.length - 1][1]);
    if (isState && !isOpen && !isUnder) there.push(item.segment);
    const high = isUnder ? BAR / 2 : BAR;
    const top = topOf(lane) + (LANE - BAR) / 2 + BAR - high;
    if (!isState || state.selected.has(item.id) || ((isOpen || isUnder) && wide > NARROW)) {
      special.push([item, left, wide, top, high]);
      continue;
    }
    if (!isOpen && right < drawn[lane] + 0.5) continue;
    drawn[lane] = right;
    const strength = isOpen ? OPEN : item.by && item.by !== state.project.person ? OTHERS : 1;
    const look = `${item.label}\n${strength}`;
    if (!plain.has(look)) plain.set(look, { label: labelOf(item.label), strength, rows: [] });
    plain.get(look).rows.push(left, top, wide);
    if (wide > 4) edges.push(left, top, 1);
  }
  for (const { label, strength, rows } of plain.values()) {
    pen.globalAlpha = strength;
    fillAll(pen, fillOf(pen, label), rows);
  }
  pen.globalAlpha = 1;
  fillAll(pen, colours.panel, edges);
  for (const one of special) drawItem(pen, ...one);
}
function fillAll(pen, fill, rows) {
  pen.fillStyle = fill;
  for (let place = 0; place < rows.length; place += 3) pen.fillRect(rows[place], rows[place + 1], rows[place + 2], BAR);
}

// Bouts that have begun: with the playhead, as they grow with every frame.
export function drawOpen(pen, { lanes, topOf, x }) {
  const { edges } = state.frames;
  for (const bout of state.open.values()) {
    const lane = laneOf(bout, lanes);
    if (lane < 0) continue;
    const top = topOf(lane) + (LANE - BAR) / 2;
    const left = Math.max(x(state.view.from), x(edges[Math.min(bout.first, state.frame)]));
    const right = x(edges[Math.max(bout.first, state.frame) + 1]);
    if (right < left) continue;
    pen.fillStyle = fillOf(pen, labelOf(bout.label));
    pen.fillRect(left, top, Math.max(2, right - left), BAR);
    pen.fillStyle = MARK;
    pen.fillRect(right - 1, top - 2, 3, BAR + 4);
  }
}
export const laneOf = (item, lanes) => lanes.findIndex((lane) => lane.label === item.label && (lane.subject === undefined || lane.subject === (item.subject ?? null)));

function drawItem(pen, item, left, wide, top, high) {
  const label = labelOf(item.label);
  const isOpen = isPending(item), isSelected = state.selected.has(item.id);
  pen.beginPath();
  if (item.kind === "point") {
    pen.moveTo(left, top);
    pen.lineTo(left + 6, top + BAR / 2);
    pen.lineTo(left, top + BAR);
    pen.lineTo(left - 6, top + BAR / 2);
    pen.closePath();
  } else pen.rect(left + 0.5, top + 0.5, wide - 1, high - 1);
  if (high < BAR) {
    pen.fillStyle = colours.panel;
    pen.fillRect(left - 1, top - 1, wide + 2, high + 1);
  }
  pen.globalAlpha = isOpen ? OPEN : item.by && item.by !== state.project.person ? OTHERS : 1;
  pen.fillStyle = item.kind === "point" ? colourOf(label) : fillOf(pen, label);
  if (!isOpen || item.kind === "state") pen.fill();
  pen.globalAlpha = 1;
  if (isSelected || isOpen || item.kind === "point") {
    pen.lineWidth = isSelected ? 2.5 : 1.5;
    pen.strokeStyle = isSelected ? colours.text : colourOf(label);
    pen.setLineDash(isOpen ? [4, 3] : []);
    pen.stroke();
    pen.setLineDash([]);
  }
  if (isOpen && wide > 26 && item.kind === "state" && high === BAR) {
    pen.fillStyle = colours.text;
    pen.font = "11px system-ui, sans-serif";
    pen.fillText((item.score ?? 0).toFixed(2).replace("0.", "."), left + 4, top + BAR / 2 + 1);
  }
  if (isSelected && state.edge && state.selected.size === 1) {
    pen.fillStyle = colours.accent;
    const at = item.kind === "point" || state.edge === "start" ? left : left + wide;
    pen.fillRect(at - 2, top - 4, 4, BAR + 8);
  }
}
