// The part of a video that a timeline shows, { from, to } in seconds, and the ruler above it.

import { clock } from "./elements.js";

const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
const ROOM = 64; // pixels for a number of the ruler

// A part of at least `shortest` seconds, within the whole.
export function fitted(from, to, whole, shortest) {
  const length = Math.max(Math.min(whole, shortest), Math.min(whole, to - from));
  const start = Math.max(0, Math.min(whole - length, from));
  return { from: start, to: start + length };
}
// What is shown multiplied by a factor; the time `around` stays where it is.
export function zoomed({ from, to }, factor, around, whole, shortest) {
  const centre = Math.max(from, Math.min(around, to));
  const length = Math.max(Math.min(whole, shortest), Math.min(whole, (to - from) * factor));
  const start = centre - ((centre - from) / (to - from)) * length;
  return fitted(start, start + length, whole, shortest);
}
export function panned({ from, to }, seconds, whole) {
  return fitted(from + seconds, to + seconds, whole, 0);
}

// left, width: where the part lies on the canvas; ruler, height: of the ruler and of its lines; line, soft: colours.
export function drawRuler(pen, { from, to }, { left = 0, width, ruler, height, line, soft }) {
  const scale = width / (to - from);
  const step = STEPS.find((one) => one * scale >= ROOM) || STEPS.at(-1);
  pen.textBaseline = "middle";
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  for (let tick = Math.ceil(from / step); tick * step <= to; tick += 1) {
    const at = left + (tick * step - from) * scale;
    pen.fillStyle = line;
    pen.fillRect(Math.round(at), ruler - 6, 1, height - ruler + 6);
    pen.fillStyle = soft;
    const text = clock(tick * step, digits);
    const wide = pen.measureText(text).width;
    pen.fillText(text, Math.max(left, Math.min(left + width - wide, at - wide / 2)), ruler / 2);
  }
}
