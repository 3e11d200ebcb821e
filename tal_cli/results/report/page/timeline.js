// A lane per label, ground truth under it, on one canvas as large as what is in sight: lanes scroll beneath the ruler.
// The play head is an element of its own and moves alone.

const LANE = 22, TRUTH = 8, GAP = 6, RULER = 24;
const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

function makeTimeline(video, player, select) {
  const pitch = LANE + GAP + (video.truth.length ? TRUTH + 2 : 0);
  const all = lanesOf(video).map((lane) => ({ ...lane, name: nameOf(lane.label, pitch) }));
  let lanes = [];
  const canvas = make("canvas", { "aria-hidden": "true" });
  const head = make("div", { class: "head", "aria-hidden": "true" });
  const area = make("div", {
    class: "area", role: "slider", tabindex: 0, "aria-label": "Timeline: time in the video",
    "aria-valuemin": 0, "aria-valuemax": video.duration,
  }, canvas, head);
  const names = make("div", { class: "names", "aria-hidden": "true" });
  names.style.paddingTop = `${RULER}px`;
  const scroller = make("div", { class: "lanes" }, names, area);
  const root = make("section", { class: "panel timeline", "aria-label": "Timeline" },
    make("div", { class: "row" },
      make("span", { class: "caption" }, video.truth.length ? "Predicted (filled) and annotated (outlined)" : "Timeline"),
      make("span", { class: "buttons" },
        make("button", { type: "button", class: "small", onclick: () => zoom(0.5), "aria-label": "Closer" }, "+"),
        make("button", { type: "button", class: "small", onclick: () => zoom(2), "aria-label": "Wider" }, "−"),
        make("button", { type: "button", class: "small", onclick: () => zoom(0) }, "Fit"))),
    scroller);

  let from = 0, to = video.duration, width = 0, chosen = null;
  const x = (time) => ((time - from) / (to - from)) * width;
  const timeAt = (at) => from + (at / width) * (to - from);

  // A lane is there as long as there is something in it.
  function arrange() {
    const now = all.filter(({ label, segments, truth }) => !state.hidden.has(label)
      && (truth.length || segments.some((index) => isShown(video.segments[index]))));
    if (now.length === lanes.length && now.every((lane, row) => lane === lanes[row])) return;
    lanes = now;
    names.replaceChildren(...lanes.map((lane) => lane.name));
  }
  function draw() {
    width = area.clientWidth;
    if (!width) return;
    const height = RULER + lanes.length * pitch;
    area.style.height = `${height}px`;
    const seen = Math.min(height, scroller.clientHeight);
    const above = scroller.scrollTop;
    const pen = sharpen(canvas, width, seen);
    const style = getComputedStyle(document.documentElement);
    drawRuler(pen, style, seen);
    pen.rect(0, RULER, width, seen);
    pen.clip();
    pen.translate(0, -above);
    lanes.forEach((lane, row) => {
      const top = RULER + row * pitch;
      if (top + pitch < above || top > above + seen) return;
      pen.fillStyle = style.getPropertyValue("--lane");
      pen.fillRect(0, top, width, LANE);
      for (const item of lane.truth) drawTruth(pen, lane.label, item, top + LANE + 2);
      for (const index of lane.segments) drawSegment(pen, index, top);
      pen.globalAlpha = 1;
    });
    if (chosen !== null && isShown(video.segments[chosen])) outline(pen, style);
    moveHead(player.time);
  }
  function drawSegment(pen, index, top) {
    const segment = video.segments[index];
    if (!isShown(segment) || segment[END] < from || segment[START] > to) return;
    pen.globalAlpha = opacityOf(segment[SCORE]);
    const left = x(segment[START]);
    drawBar(pen, segment[LABEL], left, top + 1, Math.max(2, x(segment[END]) - left), LANE - 2);
  }
  function drawTruth(pen, label, [, start, end], top) {
    if (end < from || start > to) return;
    pen.strokeStyle = colourOf(label);
    pen.lineWidth = 1.5;
    pen.strokeRect(x(start) + 0.75, top + 0.75, Math.max(2, x(end) - x(start) - 1.5), TRUTH - 1.5);
  }
  function outline(pen, style) {
    const segment = video.segments[chosen];
    const row = lanes.findIndex((lane) => lane.label === segment[LABEL]);
    pen.strokeStyle = style.getPropertyValue("--text");
    pen.lineWidth = 2;
    pen.beginPath();
    const left = x(segment[START]);
    pen.roundRect(left - 1, RULER + row * pitch, Math.max(4, x(segment[END]) - left + 2), LANE, 4);
    pen.stroke();
  }
  function drawRuler(pen, style, height) {
    const step = STEPS.find((one) => (one / (to - from)) * width >= 64) || STEPS.at(-1);
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    for (let tick = Math.ceil(from / step); tick * step <= to; tick += 1) {
      const at = x(tick * step);
      pen.fillStyle = style.getPropertyValue("--line");
      pen.fillRect(at, RULER - 6, 1, height);
      pen.fillStyle = style.getPropertyValue("--soft");
      const text = clock(tick * step, digits);
      const wide = pen.measureText(text).width;
      pen.fillText(text, Math.max(0, Math.min(width - wide, at - wide / 2)), 12);
    }
  }
  function moveHead(time) {
    if (!player.paused && to - from < video.duration && (time < from || time > to)) {
      const span = to - from;
      from = Math.max(0, Math.min(time - span * 0.05, video.duration - span));
      to = from + span;
      draw();
      return;
    }
    const inside = time >= from && time <= to;
    head.style.transform = `translateX(${x(Math.min(time, to))}px)`;
    head.hidden = !inside;
    area.setAttribute("aria-valuenow", Math.min(time, video.duration).toFixed(2));
    const now = video.segments.filter((s) => isShown(s) && lasts(s, time)).slice(0, 5);
    const heard = now.map((s) => `${labels[s[LABEL]].name} ${fixed(s[SCORE])}`).join(", ");
    area.setAttribute("aria-valuetext", `${clock(time)} of ${clock(video.duration)}${heard ? `: ${heard}` : ""}`);
  }
  // 0 shows all; anything else multiplies what is shown, around a time.
  function zoom(factor, around = player.time) {
    const shortest = Math.min(video.duration, Math.max(0.2, 8 / (video.fps || 25)));
    const span = factor ? Math.min(video.duration, Math.max(shortest, (to - from) * factor)) : video.duration;
    const centre = Math.max(from, Math.min(around, to));
    const share = (centre - from) / (to - from);
    from = Math.max(0, Math.min(centre - share * span, video.duration - span));
    to = from + span;
    draw();
  }
  function pan(seconds) {
    const span = to - from;
    from = Math.max(0, Math.min(from + seconds, video.duration - span));
    to = from + span;
    draw();
  }
  // The segment under the pointer: the shortest, since a long one can also be met elsewhere.
  function at(event) {
    const box = canvas.getBoundingClientRect();
    const time = timeAt(event.clientX - box.left);
    const down = event.clientY - box.top - RULER;
    const lane = down >= 0 ? lanes[Math.floor((down + scroller.scrollTop) / pitch)] : null;
    const slack = (3 / width) * (to - from);
    let best = null;
    for (const index of lane ? lane.segments : []) {
      const segment = video.segments[index];
      if (!isShown(segment) || time < segment[START] - slack || time > segment[END] + slack) continue;
      if (best === null || segment[END] - segment[START] < video.segments[best][END] - video.segments[best][START]) best = index;
    }
    return { time: Math.max(0, Math.min(time, video.duration)), index: best };
  }

  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => { dragged = { x: event.clientX, moved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged && event.buttons && to - from < video.duration) {
      const moved = event.clientX - dragged.x;
      if (dragged.moved || Math.abs(moved) > 4) {
        pan((-moved / width) * (to - from));
        dragged = { x: event.clientX, moved: true };
      }
      return;
    }
    const { time, index } = at(event);
    showTip(event, video, index, time);
  });
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("click", (event) => {
    if (dragged && dragged.moved) return;
    const { time, index } = at(event);
    if (index === null) player.seek(time);
    else select(index);
  });
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) zoom(event.deltaY > 0 ? 1.25 : 0.8, at(event).time);
    else if ((event.shiftKey || event.deltaX) && to - from < video.duration) pan(((event.deltaX || event.deltaY) / width) * (to - from));
    else return;
    event.preventDefault();
  }, { passive: false });
  scroller.addEventListener("scroll", draw);
  const resized = new ResizeObserver(draw);
  resized.observe(area);
  player.watch(moveHead);

  return {
    root, zoom,
    follow() { arrange(); recolour(root); draw(); },
    choose(index) {
      chosen = index;
      const [label, start, end] = video.segments[index];
      const down = pitch * lanes.findIndex((lane) => lane.label === label) - scroller.scrollTop;
      const room = scroller.clientHeight - RULER - pitch;
      if (down < 0 || down > room) scroller.scrollTop += down - room / 2;
      if (start < from || end > to) pan((start + end) / 2 - (from + to) / 2);
      else draw();
    },
    close: () => resized.disconnect(),
  };
}

function lanesOf(video) {
  const lanes = new Map();
  const laneOf = (label) => {
    if (!lanes.has(label)) lanes.set(label, { label, segments: [], truth: [] });
    return lanes.get(label);
  };
  // Certain segments are drawn over uncertain ones.
  const order = video.segments.map((_, index) => index).sort((a, b) => video.segments[a][SCORE] - video.segments[b][SCORE]);
  for (const index of order) laneOf(video.segments[index][LABEL]).segments.push(index);
  for (const item of video.truth) laneOf(item[LABEL]).truth.push(item);
  return [...lanes.values()].sort((a, b) => byLabel(a.label, b.label));
}

function nameOf(label, height) {
  const { name } = labels[label];
  return make("div", { style: { height: `${height}px` }, title: name }, swatch(label), make("span", {}, name));
}

function showTip(event, video, index, time) {
  const tip = find("#tip");
  if (index === null) tip.replaceChildren(make("span", {}, clock(time)));
  else {
    const segment = video.segments[index];
    const thumbnail = video.thumbnailOf(index);
    tip.replaceChildren(...[
      thumbnail ? make("img", { src: thumbnail, alt: "" }) : null,
      make("strong", {}, swatch(segment[LABEL]), labels[segment[LABEL]].name),
      make("span", {}, `${clock(segment[START])} – ${clock(segment[END])} · ${fixed(segment[SCORE])}`),
    ].filter(Boolean));
  }
  tip.hidden = false;
  const left = Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 8);
  const above = event.clientY - tip.offsetHeight - 12;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above > 8 ? above : event.clientY + 18}px`;
}

function hideTip() {
  find("#tip").hidden = true;
}
