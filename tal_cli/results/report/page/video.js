// The view of one video: player, filter, timeline, table, and what connects them.

function openVideo(number, time) {
  const video = videoData(number);
  video.thumbnailOf = (index) => held(`thumbnails-${number}`)[video.thumbnails[index]];
  const stage = makeStage(video, number);
  const lanes = makeLanes(video, stage, select);
  const { player } = stage;
  const table = makeTable(video, select, play);
  const present = new Set([...video.segments, ...video.truth].map((item) => item[LABEL]));
  const filter = makeFilter([...present], () => countLabels(video.segments), video.segments.map((segment) => segment[SCORE]));
  const shownTime = make("span", { class: "time" });
  const now = make("div", { class: "now", "aria-hidden": "true" });
  const button = (shape, name, key, act) => make("button", { type: "button", onclick: act, "aria-label": name, title: `${name} (${key})` }, icon(shape));
  const transport = make("div", { class: "transport" },
    button("previous", "Previous segment", "p", () => step(-1)),
    button("play", "Play or pause", "space", stage.toggle),
    button("next", "Next segment", "n", () => step(1)),
    button("start", "Play the segment, then stop", "s", () => play(here())),
    shownTime,
    button("link", "Copy the link to this moment", "c", copyLink));
  const above = make("div", { class: "stage" }, stage.root, make("div", { class: "under" }, transport, now));
  const root = make("div", { class: "view" }, make("div", { class: "top" }, above, filter.root), lanes.root, table.root);

  // Segments shown at this moment, best first.
  function current(at) {
    return video.segments.map((_, index) => index).filter((index) => isShown(video.segments[index]) && lasts(video.segments[index], at))
      .sort((a, b) => video.segments[b][SCORE] - video.segments[a][SCORE]);
  }
  let lastNow = "";
  stage.watch((at) => {
    shownTime.textContent = `${clock(at)} / ${clock(video.duration)}${player.speed === 1 ? "" : ` ×${player.speed}`}`;
    const best = current(at).slice(0, 6);
    const key = `${state.dark} ${best.join(" ")}`;
    if (key === lastNow) return;
    lastNow = key;
    now.replaceChildren(...best.map((index) => {
      const [label, , , score] = video.segments[index];
      return make("span", { class: "chip" }, swatch(label), make("span", { class: "name" }, labels[label].name), make("span", { class: "count" }, fixed(score)));
    }));
  });

  let chosen = null;
  function select(index) {
    chosen = index;
    const [label, start, end, score] = video.segments[index];
    lanes.choose(index);
    table.choose(index);
    stage.seek(start);
    stage.show(video.thumbnailOf(index));
    remember(start);
    above.scrollIntoView({ block: "nearest" }); // where the window is too low for a stage that stays
    say(`${labels[label].name}, ${clock(start)} to ${clock(end)}, score ${fixed(score)}`);
  }
  function play(index) {
    if (index === null) {
      say("There is no segment here", true);
      return;
    }
    select(index);
    stage.play(video.segments[index]);
  }
  // The chosen segment, if the video is in it or at its end, else the best of those at this moment.
  function here() {
    const at = stage.time;
    if (chosen !== null && video.segments[chosen][START] <= at + 0.3 && at <= video.segments[chosen][END] + 0.3) return chosen;
    return current(at)[0] ?? null;
  }
  // The next segment shown after the chosen one, if that is where the video is, else after this moment; or before it.
  function step(direction) {
    const at = stage.time;
    const shown = video.segments.map((_, index) => index).filter((index) => isShown(video.segments[index]));
    const starts = (index) => video.segments[index][START];
    const place = chosen !== null && Math.abs(starts(chosen) - at) < 0.3 ? shown.indexOf(chosen) : -1;
    let next;
    if (place >= 0) next = shown[place + direction];
    else if (direction > 0) next = shown.find((index) => starts(index) > at + 0.005);
    else next = shown.filter((index) => starts(index) < at - 0.005).pop();
    if (next === undefined) say(direction > 0 ? "No later segment" : "No earlier segment", true);
    else select(next);
  }
  function remember(at) {
    writePlace(number, at);
  }
  function copyLink() {
    remember(stage.time);
    const copied = navigator.clipboard ? navigator.clipboard.writeText(location.href) : Promise.reject();
    copied.then(() => say("Link copied", true), () => say("The link is in the address bar", true));
  }
  const follow = () => { filter.follow(); lanes.follow(); table.follow(); recolour(root); stage.seek(stage.time); };
  const stop = onChange(() => { filter.follow(); lanes.follow(); table.follow(); recolour(root); lastNow = ""; });
  const keys = {
    " ": stage.toggle,
    ArrowLeft: (event) => stage.seek(stage.time - (event.shiftKey ? 5 : 1)),
    ArrowRight: (event) => stage.seek(stage.time + (event.shiftKey ? 5 : 1)),
    ",": () => stage.step(-1),
    ".": () => stage.step(1),
    "<": () => player.changeSpeed(-1),
    ">": () => player.changeSpeed(1),
    n: () => step(1),
    p: () => step(-1),
    s: () => play(here()),
    Home: () => stage.seek(0),
    End: () => stage.seek(video.duration),
    "+": () => lanes.timeline.zoom(0.5, stage.time),
    "=": () => lanes.timeline.zoom(0.5, stage.time),
    "-": () => lanes.timeline.zoom(2, stage.time),
    0: () => lanes.timeline.setView(0, video.duration),
    c: copyLink,
  };
  return {
    root, keys, video,
    title: video.name,
    facts: [clock(video.duration), video.fps ? `${Number(video.fps.toFixed(2))} fps` : null, page.run.model, page.run.threshold].filter(Boolean).join(" · "),
    start() {
      follow();
      stage.seek(time || 0);
    },
    seek: (at) => stage.seek(at),
    close() { stop(); stage.close(); lanes.close(); table.close(); hideTip(); },
  };
}
