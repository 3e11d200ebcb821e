// The view of one video: player, filter, timeline, table, and what connects them.

function openVideo(number, time) {
  const video = videoData(number);
  video.thumbnailOf = (index) => held(`thumbnails-${number}`)[video.thumbnails[index]];
  const player = makePlayer(video, number);
  const timeline = makeTimeline(video, player, select);
  const table = makeTable(video, select, play);
  const present = new Set([...video.segments, ...video.truth].map((item) => item[LABEL]));
  const filter = makeFilter([...present], () => countLabels(video.segments), video.segments.map((segment) => segment[SCORE]));
  const shownTime = make("span", { class: "time" });
  const now = make("div", { class: "now", "aria-hidden": "true" });
  const button = (shape, name, key, act) => make("button", { type: "button", onclick: act, "aria-label": name, title: `${name} (${key})` }, icon(shape));
  const transport = make("div", { class: "transport" },
    button("previous", "Previous segment", "p", () => step(-1)),
    button("play", "Play or pause", "space", () => player.toggle()),
    button("next", "Next segment", "n", () => step(1)),
    button("start", "Play the segment, then stop", "s", () => play(here())),
    shownTime,
    button("link", "Copy the link to this moment", "c", copyLink));
  const stage = make("div", { class: "stage" }, player.root, make("div", { class: "under" }, transport, now));
  const root = make("div", { class: "view" }, make("div", { class: "top" }, stage, filter.root), timeline.root, table.root);

  // Segments shown at this moment, best first.
  function current(at) {
    return video.segments.map((_, index) => index).filter((index) => isShown(video.segments[index]) && lasts(video.segments[index], at))
      .sort((a, b) => video.segments[b][SCORE] - video.segments[a][SCORE]);
  }
  let lastNow = "";
  player.watch((at) => {
    shownTime.textContent = `${clock(at)} / ${clock(video.duration)}`;
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
    timeline.choose(index);
    table.choose(index);
    player.seek(start);
    player.show(video.thumbnailOf(index));
    remember(start);
    stage.scrollIntoView({ block: "nearest" }); // where the window is too low for a stage that stays
    say(`${labels[label].name}, ${clock(start)} to ${clock(end)}, score ${fixed(score)}`);
  }
  function play(index) {
    if (index === null) {
      say("There is no segment here", true);
      return;
    }
    select(index);
    player.play(video.segments[index][END]);
  }
  // The chosen segment, if the video is in it or at its end, else the best of those at this moment.
  function here() {
    const at = player.time;
    if (chosen !== null && video.segments[chosen][START] <= at + 0.3 && at <= video.segments[chosen][END] + 0.3) return chosen;
    return current(at)[0] ?? null;
  }
  // The next segment shown after the chosen one, if that is where the video is, else after this moment; or before it.
  function step(direction) {
    const at = player.time;
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
    remember(player.time);
    const copied = navigator.clipboard ? navigator.clipboard.writeText(location.href) : Promise.reject();
    copied.then(() => say("Link copied", true), () => say("The link is in the address bar", true));
  }
  const follow = () => { filter.follow(); timeline.follow(); table.follow(); recolour(root); player.seek(player.time); };
  const stop = onChange(() => { filter.follow(); timeline.follow(); table.follow(); recolour(root); lastNow = ""; });
  const frame = 1 / (video.fps || 25);
  const keys = {
    " ": () => player.toggle(),
    ArrowLeft: (event) => player.seek(player.time - (event.shiftKey ? 5 : 1)),
    ArrowRight: (event) => player.seek(player.time + (event.shiftKey ? 5 : 1)),
    ",": () => { player.pause(); player.seek(player.time - frame); },
    ".": () => { player.pause(); player.seek(player.time + frame); },
    n: () => step(1),
    p: () => step(-1),
    s: () => play(here()),
    Home: () => player.seek(0),
    End: () => player.seek(video.duration),
    "+": () => timeline.zoom(0.5),
    "=": () => timeline.zoom(0.5),
    "-": () => timeline.zoom(2),
    0: () => timeline.zoom(0),
    c: copyLink,
  };
  return {
    root, keys, video,
    title: video.name,
    facts: [clock(video.duration), video.fps ? `${Number(video.fps.toFixed(2))} fps` : null, page.run.model, page.run.threshold].filter(Boolean).join(" · "),
    start() {
      follow();
      player.seek(time || 0);
    },
    seek: (at) => player.seek(at),
    close() { stop(); player.close(); timeline.close(); table.close(); hideTip(); },
  };
}
