// A lane per label, ground truth under it: lanes scroll beneath the ruler.

const LANE = 22, TRUTH = 8, GAP = 6;

function makeLanes(video, stage, select) {
  const pitch = LANE + GAP + (video.truth.length ? TRUTH + 2 : 0);
  const all = lanesOf(video).map((lane) => ({ ...lane, name: nameOf(lane.label, pitch) }));
  let lanes = [], chosen = null;
  const area = make("div", {
    class: "area", role: "slider", tabindex: 0, "aria-label": "Timeline: time in the video",
    "aria-valuemin": 0, "aria-valuemax": video.duration,
  });
  const names = make("div", { class: "names", "aria-hidden": "true", style: { "padding-top": `${RULER}px` } });
  const scroller = make("div", { class: "lanes" }, names, area);
  const button = (text, name, act) => make("button", { type: "button", class: "small", onclick: act, "aria-label": name }, text);
  const root = make("section", { class: "panel timeline", "aria-label": "Timeline" },
    make("div", { class: "row" },
      make("span", { class: "caption" }, video.truth.length ? "Predicted (filled) and annotated (outlined)" : "Timeline"),
      make("span", { class: "buttons" },
        button("+", "Closer", () => timeline.zoom(0.5, stage.time)),
        button("−", "Wider", () => timeline.zoom(2, stage.time)),
        button("Fit", null, () => timeline.setView(0, video.duration)))),
    scroller);
  const colours = {};
  const { player, frames } = stage;
  let revision = 0; // of what is shown, and of the colours
  const timeline = makeTimeline({
    area, scroller, colours,
    attributes: { "aria-hidden": "true" },
    whole: () => video.duration,
    shortest: () => Math.max(0.2, 8 / (video.fps || 25)),
    height: () => lanes.length * pitch,
    frame: () => [stage.time, frames.edges[player.target + 1]],
    isPlaying: () => !player.paused,
    zoomsWith: (event) => event.ctrlKey || event.metaKey,
    looks: () => [revision, chosen],
    arrange,
    paint,
  });

  // A lane is there as long as there is something in it.
  function arrange() {
    const now = all.filter(({ label, segments, truth }) => !state.hidden.has(label)
      && (truth.length || segments.some((index) => isShown(video.segments[index]))));
    if (now.length === lanes.length && now.every((lane, row) => lane === lanes[row])) return;
    lanes = now;
    names.replaceChildren(...lanes.map((lane) => lane.name));
  }
  function barOf([label, start, end], top, high) {
    const { x } = timeline;
    const left = x(start);
    return { left, top, wide: Math.max(2, x(end) - left), high, fill: colourOf(label), strength: 1 };
  }
  const isIn = ([, start, end]) => end >= timeline.view.from && start <= timeline.view.to;
  function paint(pen) {
    const bars = [];
    lanes.forEach((lane, row) => {
      const top = row * pitch;
      if (!timeline.isInSight(top, top + pitch)) return;
      pen.fillStyle = colours.lane;
      pen.fillRect(0, top, timeline.width, LANE);
      const fill = labels[lane.label].round ? hatched(pen, colourOf(lane.label), state.dark ? "#0008" : "#fffa") : colourOf(lane.label);
      for (const index of lane.segments) {
        const segment = video.segments[index];
        if (isShown(segment) && isIn(segment)) bars.push({ ...barOf(segment, top + 1, LANE - 2), fill, strength: opacityOf(segment[SCORE]) });
      }
    });
    fillBars(pen, bars);
    lanes.forEach((lane, row) => {
      for (const item of lane.truth) {
        const isPoint = item[START] === item[END];
        if (isIn(item)) outlineBar(pen, { ...barOf(item, row * pitch + LANE + 2, TRUTH), isPoint }, colourOf(lane.label));
      }
    });
    if (chosen === null || !isShown(video.segments[chosen])) return;
    const segment = video.segments[chosen];
    const bar = barOf(segment, lanes.findIndex((lane) => lane.label === segment[LABEL]) * pitch, LANE);
    outlineBar(pen, { ...bar, left: bar.left - 1, wide: bar.wide + 2 }, colours.text, 2);
  }
  function tell(time) {
    timeline.schedule();
    area.setAttribute("aria-valuenow", Math.min(time, video.duration).toFixed(2));
    const now = video.segments.filter((s) => isShown(s) && lasts(s, time)).slice(0, 5);
    const heard = now.map((s) => `${labels[s[LABEL]].name} ${fixed(s[SCORE])}`).join(", ");
    area.setAttribute("aria-valuetext", `${clock(time)} of ${clock(video.duration)}${heard ? `: ${heard}` : ""}`);
  }
  // The segment under the pointer: the shortest, since a long one can also be met elsewhere.
  function at(event) {
    const [x, y] = timeline.position(event);
    const time = timeline.timeAt(x);
    const lane = y >= 0 ? lanes[Math.floor(y / pitch)] : null;
    const slack = 3 / timeline.perSecond;
    let best = null;
    for (const index of lane ? lane.segments : []) {
      const segment = video.segments[index];
      if (!isShown(segment) || time < segment[START] - slack || time > segment[END] + slack) continue;
      if (best === null || segment[END] - segment[START] < video.segments[best][END] - video.segments[best][START]) best = index;
    }
    return { time: Math.max(0, Math.min(time, video.duration)), index: best };
  }

  const { canvas } = timeline;
  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => { dragged = { x: event.clientX, moved: false }; });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged && event.buttons && timeline.view.to - timeline.view.from < video.duration) {
      const moved = event.clientX - dragged.x;
      if (dragged.moved || Math.abs(moved) > 4) {
        timeline.pan(-moved / timeline.perSecond);
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
    if (index === null) stage.seek(time);
    else select(index);
  });
  stage.watch(tell);
  timeline.setView(0, video.duration);

  return {
    root, timeline,
    follow() {
      const style = getComputedStyle(document.documentElement);
      for (const name of ["text", "line", "soft", "lane"]) colours[name] = style.getPropertyValue(`--${name}`);
      colours.accent = colours.text;
      revision += 1;
      arrange();
      recolour(root);
      timeline.schedule();
    },
    choose(index) {
      chosen = index;
      const [label, start, end] = video.segments[index];
      const top = pitch * lanes.findIndex((lane) => lane.label === label);
      timeline.revealLane(top, top + pitch);
      const { from, to } = timeline.view;
      if (start < from || end > to) timeline.pan((start + end - from - to) / 2);
      timeline.schedule();
    },
    close: timeline.close,
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
