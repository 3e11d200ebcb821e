// A timeline: part of a video, lanes that scroll beneath a ruler, and the playhead on a canvas of its own.

import { firstIndex, make, sharpen } from "./elements.js";
import { drawRuler, fitted, panned, zoomed } from "./span.js";

export const RULER = 22; // pixels

// area: an element that takes both canvases and is as high as all lanes, within `scroller`, which shows some of them.
// left: pixels for names; whole, shortest: of functions, seconds of the video and at most magnification; height: of all
// lanes; frame: [start, end] of the frame on screen; isPlaying; looks: what the picture depends on, as long as nothing
// of which changes only the playhead is drawn; arrange: called before all is drawn; paint(pen): draws the lanes, whose
// top is at 0; paintMoving: the same with every frame; colours: { line, soft, accent }; onView: called when the view
// has changed; zoomsWith: whether a turn of the wheel is one that zooms; attributes: of the canvas.
export function makeTimeline({
  area, scroller, left = 0, whole, shortest, height, frame, isPlaying, looks, arrange, paint, paintMoving = () => {}, colours,
  onView = () => {}, zoomsWith = () => true, attributes = {},
}) {
  const canvas = make("canvas", attributes);
  const top = make("canvas", { "aria-hidden": "true", class: "playhead" });
  area.append(canvas, top);
  let span = { from: 0, to: 10 };
  let outer = 0, inSight = 0; // of area and scroller, asked for once: that is slow where much is drawn
  let seen = 0; // pixels of ruler and lanes that are drawn
  let isScheduled = false;
  let drawn = [];

  const timeline = {
    canvas,
    get view() { return span; },
    get width() { return Math.max(50, outer - left); },
    get perSecond() { return timeline.width / (span.to - span.from); },
    isInSight: (high, low) => low > scroller.scrollTop && high < scroller.scrollTop + seen - RULER,
    x: (time) => left + (time - span.from) * timeline.perSecond,
    timeAt: (x) => span.from + (x - left) / timeline.perSecond,
    // Where the pointer is: in pixels, its y from the top of the lanes, which is negative on the ruler.
    position(event) {
      const box = canvas.getBoundingClientRect();
      const y = event.clientY - box.top - RULER;
      return [event.clientX - box.left, y < 0 ? y : y + scroller.scrollTop];
    },
    setView: (from, to) => look(fitted(from, to, whole(), shortest())),
    zoom: (factor, at = frame()[0]) => look(zoomed(span, factor, at, whole(), shortest())),
    pan: (seconds) => look(panned(span, seconds, whole())),
    reveal(time) {
      const length = span.to - span.from;
      if (time < span.from || time > span.to) timeline.setView(time - length * 0.2, time + length * 0.8);
    },
    // What is between two heights of the lanes comes into sight.
    revealLane(high, low) {
      if (high < scroller.scrollTop) scroller.scrollTop = high;
      else if (low + RULER > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = low + RULER - scroller.clientHeight;
    },
    schedule() {
      if (isScheduled) return;
      isScheduled = true;
      requestAnimationFrame(() => {
        isScheduled = false;
        timeline.draw();
      });
    },
    draw, drawPlayhead,
    close: () => resized.disconnect(),
  };

  function look(now) {
    span = now;
    onView();
    timeline.schedule();
  }
  function draw() {
    if (!outer) return;
    const look = [span, outer, scroller.scrollTop, inSight, ...looks()];
    if (look.every((part, place) => part === drawn[place])) {
      drawPlayhead();
      return;
    }
    drawn = look;
    arrange();
    area.style.height = `${RULER + height()}px`;
    seen = Math.max(RULER, Math.min(RULER + height(), inSight));
    const pen = sharpen(canvas, outer, seen);
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    drawRuler(pen, span, { left, width: timeline.width, ruler: RULER, height: seen, line: colours.line, soft: colours.soft });
    lanes(pen, paint);
    drawPlayhead();
  }
  function lanes(pen, draws) {
    pen.save();
    pen.beginPath();
    pen.rect(0, RULER, outer, seen);
    pen.clip();
    pen.translate(0, RULER - scroller.scrollTop);
    draws(pen);
    pen.restore();
  }
  // At every frame: nothing else is done then.
  function drawPlayhead() {
    if (!outer) return;
    const [time, end] = frame();
    if (isPlaying() && (time > span.to || time < span.from)) timeline.setView(time, time + span.to - span.from);
    const pen = sharpen(top, outer, seen);
    lanes(pen, paintMoving);
    const at = timeline.x(time);
    if (at < left || at > outer) return;
    const wide = timeline.x(end) - at;
    pen.fillStyle = colours.accent;
    if (wide > 3) {
      pen.globalAlpha = 0.2;
      pen.fillRect(at, 0, wide, seen);
      pen.globalAlpha = 1;
    }
    pen.fillRect(at - 0.75, 0, 1.5, seen);
    pen.beginPath();
    pen.moveTo(at - 5, 0);
    pen.lineTo(at + 5, 0);
    pen.lineTo(at, 6);
    pen.fill();
  }

  canvas.addEventListener("wheel", (event) => {
    const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!isSideways && !zoomsWith(event)) return;
    event.preventDefault();
    const amount = event.deltaY || event.deltaX;
    const [x] = timeline.position(event);
    if (isSideways) timeline.pan(((event.deltaX || event.deltaY) / timeline.width) * (span.to - span.from));
    else timeline.zoom(amount > 0 ? 1.25 : 0.8, Math.max(0, timeline.timeAt(Math.max(x, left))));
  }, { passive: false });
  scroller.addEventListener("scroll", draw);
  const resized = new ResizeObserver(() => {
    outer = area.clientWidth;
    inSight = scroller.clientHeight;
    timeline.schedule();
  });
  resized.observe(area);
  resized.observe(scroller);
  return timeline;
}

// Of a list in order of start, those that are in view, found by binary search: `longest` tells how far back to look.
export function inView(list, longest, { from, to }, startOf, endOf) {
  const first = firstIndex(list.length, (place) => startOf(list[place]) >= from - longest);
  const end = firstIndex(list.length, (place) => startOf(list[place]) > to);
  return list.slice(first, end).filter((item) => endOf(item) >= from);
}
