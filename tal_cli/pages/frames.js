// The times of a video's frames. Frame i is shown from edges[i] to edges[i + 1], in seconds after frame 0.

import { firstIndex } from "./elements.js";

const rounded = (seconds) => Math.round(seconds * 1e6) / 1e6;

export class Frames {
  constructor(edges) {
    this.edges = edges;
    this.count = edges.length - 1;
    this.duration = edges[this.count];
  }

  clamp(frame) {
    return Math.max(0, Math.min(this.count - 1, frame));
  }

  // The frame shown at a time.
  at(time) {
    return this.clamp(firstIndex(this.edges.length, (place) => this.edges[place] > time) - 1);
  }

  // The index of the edge nearest to a time.
  nearest(time) {
    const place = Math.min(this.count, firstIndex(this.edges.length, (index) => this.edges[index] >= time));
    return place > 0 && time - this.edges[place - 1] < this.edges[place] - time ? place - 1 : place;
  }

  // The frame whose time a player tells: a little early, as its clock is coarser, or, in Firefox, the time sought for.
  told(time) {
    const frame = this.at(time);
    const [start, end] = [this.edges[frame], this.edges[frame + 1]];
    return this.clamp(end - time < (end - start) / 4 ? frame + 1 : frame);
  }

  middle(frame) {
    return (this.edges[frame] + this.edges[frame + 1]) / 2;
  }

  // Frames of a segment: the first, and the last one inside.
  first(segment) {
    return this.clamp(this.nearest(segment[0]));
  }

  last(segment) {
    return segment[0] === segment[1] ? this.first(segment) : this.clamp(this.nearest(segment[1]) - 1);
  }

  static even(count, duration) {
    const frames = Math.max(1, count);
    return new Frames(Float64Array.from({ length: frames + 1 }, (_, place) => (place * duration) / frames));
  }

  // From runs of equal steps, [how many, step], in units of `over / under` seconds.
  static ofRuns({ base: [over, under], runs }) {
    const edges = [0];
    let stamp = 0;
    for (const [count, step] of runs) {
      for (let each = 0; each < count; each += 1) edges.push(rounded(((stamp += step) * over) / under));
    }
    return new Frames(Float64Array.from(edges));
  }

  // From unsigned LEB128 steps in units of `base` ("1/12800") seconds.
  static unpack(bytes, base, count) {
    const [over, under] = base.split("/").map(Number);
    const edges = new Float64Array(count + 1);
    let stamp = 0, value = 0, scale = 1, place = 1;
    for (const byte of bytes) {
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) {
        stamp += value;
        edges[place] = rounded((stamp * over) / under);
        place += 1;
        value = 0;
        scale = 1;
      }
    }
    return new Frames(edges);
  }
}

// A moment from `1:02.5`, `62.5` or `f1550`; the frame, or null.
export function frameOf(text, frames) {
  const trimmed = text.trim();
  if (/^f\s*\d+$/i.test(trimmed)) {
    const frame = Number(trimmed.slice(1));
    return frame < frames.count ? frame : null;
  }
  if (!/^(\d+:){0,2}\d+(\.\d*)?$/.test(trimmed)) return null;
  const seconds = trimmed.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return seconds <= frames.duration ? frames.at(seconds + 1e-6) : null;
}
