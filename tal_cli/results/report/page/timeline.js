// A lane per label, ground truth under it, on one canvas as large as what is in sight: lanes scroll beneath the ruler.
// The play head is an element of its own and moves alone.

const LANE = 22, TRUTH = 8, GAP = 6, RULER = 24;

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

  let span = { from: 0, to: video.duration }, width = 0, chosen = null;
  const shown = () => span.to - span.from;
  const x = (time) => ((time - span.from) / shown()) * width;
  const timeAt = (at) => span.from + (at / width) * shown();

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
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    drawRuler(pen, span, { width, ruler: RULER, height: seen, line: style.getPropertyValue("--line"), soft: style.getPropertyValue("--soft") });
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
    if (!isShown(segment) || segment[END] < span.from || segment[START] > span.to) return;
    pen.globalAlpha = opacityOf(segment[SCORE]);
    const left = x(segment[START]);
    drawBar(pen, segment[LABEL], left, top + 1, Math.max(2, x(segment[END]) - left), LANE - 2);
  }
  function drawTruth(pen, label, [, start, end], top) {
    if (end < span.from || start > span.to) return;
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
  function moveHead(time) {
    if (!player.paused && shown() < video.duration && (time < span.from || time > span.to)) {
      span = fitted(time - shown() * 0.05, time + shown() * 0.95, video.duration, 0);
      draw();
      return;
    }
    const inside = time >= span.from && time <= span.to;
    head.style.transform = `translateX(${x(Math.min(time, span.to))}px)`;
    head.hidden = !inside;
    area.setAttribute("aria-valuenow", Math.min(time, video.duration).toFixed(2));
    const now = video.segments.filter((s) => isShown(s) && lasts(s, time)).slice(0, 5);
    const heard = now.map((s) => `${labels[s[LABEL]].name} ${fixed(s[SCORE])}`).join(", ");
    area.setAttribute("aria-valuetext", `${clock(time)} of ${clock(video.duration)}${heard ? `: ${heard}` : ""}`);
  }
  // 0 shows all; anything else multiplies what is shown, around a time.
  function zoom(factor, around = player.time) {
    const shortest = Math.min(video.duration, Math.max(0.2, 8 / (video.fps || 25)));
    span = factor ? zoomed(span, factor, around, video.duration, shortest) : { from: 0, to: video.duration };
    draw();
  }
  function pan(seconds) {
    span = panned(span, seconds, video.duration);
    draw();
  }
  // The segment under the pointer: the shortest, since a long one can also be met elsewhere.
  function at(event) {
    const box = canvas.getBoundingClientRect();
    const time = timeAt(event.clientX - box.left);
    const down = event.clientY - box.top - RULER;
    const lane = down >= 0 ? lanes[Math.floor((down + scroller.scrollTop) / pitch)] : null;
    const slack = (3 / width) * shown();
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
    if (dragged && event.buttons && shown() < video.duration) {
      const moved = event.clientX - dragged.x;
      if (dragged.moved || Math.abs(moved) > 4) {
        pan((-moved / width) * shown());
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
    else if ((event.shiftKey || event.deltaX) && shown() < video.duration) pan(((event.deltaX || event.deltaY) / width) * shown());
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
      if (start < span.from || end > span.to) pan((start + end - span.from - span.to) / 2);
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
