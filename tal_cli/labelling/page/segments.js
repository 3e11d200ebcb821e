// The segments on the timeline: their colours, where each lies, and how it looks.

import { fillBars, hatched, outlineBar } from "./bars.js";
import { isPending, labelOf, segments, state } from "./state.js";
import { inView } from "./timeline.js";

export const LANE = 24, BAR = 16;
const NARROW = 5; // pixels, up to which a suggestion has no outline
const OTHERS = 0.5, OPEN = 0.35; // how strong another person's bars are, and suggestions
const MARK = "#d22"; // where a bout grows

export const colours = {};
export function readPalette() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["text", "soft", "line", "lane", "panel", "accent", "faint", "reviewed"]) colours[name] = style.getPropertyValue(`--${name}`).trim();
}

// Colours of labels: black would vanish in the dark.
const isDark = () => document.documentElement.dataset.theme === "dark";
export const colourOf = (label) => (label?.color === "#000000" && isDark() ? "#C8C8C8" : label?.color || "#888888");
export const fillOf = (pen, label) => (label?.pattern === "hatched" ? hatched(pen, colourOf(label), colours.panel) : colourOf(label));
export const laneOf = (item, lanes) => lanes.findIndex((lane) => lane.label === item.label && (lane.subject === undefined || lane.subject === (item.subject ?? null)));

let measured = { list: null, longest: 0 };
function longestOf(list) {
  if (measured.list !== list) measured = { list, longest: list.reduce((most, item) => Math.max(most, item.segment[1] - item.segment[0]), 0) };
  return measured.longest;
}

// lanes: { label, subject }, topOf: of a lane's number, x: of a time, both in pixels; view: seconds in view.
export function drawSegments(pen, { lanes, topOf, x, view }) {
  const bySubject = lanes.some((lane) => lane.subject !== undefined);
  const keyOf = (label, subject) => (bySubject ? `${label}\n${subject ?? ""}` : label);
  const places = new Map(lanes.map((lane, place) => [keyOf(lane.label, lane.subject), place]));
  const fills = new Map(lanes.map((lane) => [lane.label, fillOf(pen, labelOf(lane.label))]));
  const plain = [], edges = []; // edges: where touching bouts stay two
  const special = []; // what is outlined: selected, suggested, a point
  const drawn = new Float64Array(lanes.length); // to which pixel each lane is drawn: what would add none is left out
  const taken = lanes.map(() => []); // states of each lane: where they are, a suggestion has the lower half
  const list = segments();
  const found = inView(list, longestOf(list), view, (item) => item.segment[0], (item) => item.segment[1]);
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
    const strength = isOpen ? OPEN : item.by && item.by !== state.project.person ? OTHERS : 1;
    const bar = { left, top: topOf(lane) + (LANE - BAR) / 2 + BAR - high, wide, high, fill: fills.get(item.label), strength, isPoint: !isState };
    if (!isState || state.selected.has(item.id) || ((isOpen || isUnder) && wide > NARROW)) special.push([item, bar]);
    else if (isOpen || right >= drawn[lane] + 0.5) {
      drawn[lane] = right;
      plain.push(bar);
      if (wide > 4) edges.push({ ...bar, wide: 1, fill: colours.panel, strength: 1 });
    }
  }
  fillBars(pen, plain);
  fillBars(pen, edges);
  const told = new Map(); // top of bars -> where the last score that was written ends
  for (const one of special) drawSpecial(pen, ...one, told);
}

function drawSpecial(pen, item, bar, told) {
  const { left, top, wide, high, isPoint } = bar;
  const isOpen = isPending(item), isSelected = state.selected.has(item.id);
  const colour = colourOf(labelOf(item.label));
  if (high < BAR) {
    pen.fillStyle = colours.panel;
    pen.fillRect(left - 1, top - 1, wide + 2, high + 1);
  }
  if (!isOpen || !isPoint) fillBars(pen, [isPoint ? { ...bar, fill: colour } : bar]);
  if (isSelected || isOpen || isPoint) outlineBar(pen, bar, isSelected ? colours.text : colour, isSelected ? 2.5 : 1.5, isOpen ? [4, 3] : []);
  const from = Math.max(left + 4, (told.get(top) ?? 0) + 4); // two scores are not written over one another
  if (isOpen && left + wide - from > 22 && !isPoint && high === BAR) {
    pen.fillStyle = colours.text;
    pen.font = "11px system-ui, sans-serif";
    pen.fillText((item.score ?? 0).toFixed(2).replace("0.", "."), from, top + BAR / 2 + 1);
    told.set(top, from + 18);
  }
  if (isSelected && state.edge && state.selected.size === 1) {
    pen.fillStyle = colours.accent;
    const at = isPoint || state.edge === "start" ? left : left + wide;
    pen.fillRect(at - 2, top - 4, 4, BAR + 8);
  }
}

// Bouts that have begun: with the playhead, as they grow with every frame.
export function drawOpen(pen, { lanes, topOf, x, view }) {
  const { edges } = state.frames;
  for (const bout of state.open.values()) {
    const lane = laneOf(bout, lanes);
    if (lane < 0) continue;
    const top = topOf(lane) + (LANE - BAR) / 2;
    const left = Math.max(x(view.from), x(edges[Math.min(bout.first, state.frame)]));
    const right = x(edges[Math.max(bout.first, state.frame) + 1]);
    if (right < left) continue;
    fillBars(pen, [{ left, top, wide: Math.max(2, right - left), high: BAR, fill: fillOf(pen, labelOf(bout.label)), strength: 1 }]);
    pen.fillStyle = MARK;
    pen.fillRect(right - 1, top - 2, 3, BAR + 4);
  }
}
