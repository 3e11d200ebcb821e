// Every segment as a row: what the timeline shows, for reading, sorting and for screen readers.

const ROWS_AT_ONCE = 100;

function makeTable(video, select, play) {
  const matched = video.truth.length > 0;
  const matches = matched ? matchesOf(video) : null;
  const columns = [
    { name: "Label", of: (index) => labels[video.segments[index][LABEL]].name },
    { name: "Start", of: (index) => video.segments[index][START] },
    { name: "End", wide: true, of: (index) => video.segments[index][END] },
    { name: "Seconds", of: (index) => video.segments[index][END] - video.segments[index][START] },
    { name: "Score", of: (index) => video.segments[index][SCORE] },
    ...(matched ? [{ name: "Overlap", wide: true, title: "Largest overlap (IoU) with an annotation of the same label; of points, seconds to the nearest", of: (index) => matches[index].order }] : []),
  ];
  let sorted = { column: 1, falling: false };
  let order = [], written = 0, chosen = null;
  const body = make("tbody", {});
  const heads = columns.map((column, number) => make("th", { scope: "col", "aria-sort": "none", title: column.title, class: column.wide ? "wide" : null },
    make("button", { type: "button", onclick: () => sort(number) }, column.name, make("span", { class: "arrow", "aria-hidden": "true" }))));
  const table = make("table", {},
    make("caption", { class: "unseen" }, `Segments of ${video.name}`),
    make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "thumbnail" }, make("span", { class: "unseen" }, "Thumbnail")), ...heads)),
    body);
  const count = make("span", { class: "caption", role: "status" });
  const more = make("button", { type: "button", class: "more", onclick: () => write() });
  const nothing = make("p", { class: "nothing" });
  const scroll = make("div", { class: "scroll" }, table);
  const root = make("section", { class: "panel segments", "aria-label": "Segments" },
    make("div", { class: "row" }, count), nothing, scroll, more);
  const seen = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) write(); }, { rootMargin: "600px" });

  function sort(column) {
    sorted = { column, falling: sorted.column === column ? !sorted.falling : column >= 3 };
    follow();
  }
  function follow() {
    const { of } = columns[sorted.column];
    const sign = sorted.falling ? -1 : 1;
    order = [];
    video.segments.forEach((segment, index) => { if (isShown(segment)) order.push(index); });
    const keys = new Map(order.map((index) => [index, of(index)]));
    order.sort((a, b) => {
      const [one, two] = [keys.get(a), keys.get(b)];
      return sign * (typeof one === "string" ? byName(one, two) : one - two) || a - b;
    });
    heads.forEach((head, number) => head.setAttribute("aria-sort", number !== sorted.column ? "none" : sorted.falling ? "descending" : "ascending"));
    const all = video.segments.length;
    count.textContent = someOf(order.length, all, "segment");
    nothing.hidden = order.length > 0;
    nothing.textContent = all ? "No segment has this score and one of these labels." : "Nothing was found in this video.";
    scroll.hidden = !order.length;
    table.setAttribute("aria-rowcount", order.length + 1);
    body.replaceChildren();
    written = 0;
    write();
  }
  function write() {
    const rows = order.slice(written, written + ROWS_AT_ONCE).map((index, number) => row(index, written + number + 2));
    body.append(...rows);
    written += rows.length;
    more.hidden = written >= order.length;
    seen.unobserve(more); // observed again it tells where it is, also when it never left
    seen.observe(more);
    more.textContent = `${(order.length - written).toLocaleString("en")} more`;
  }
  function row(index, number) {
    const [label, start, end, score] = video.segments[index];
    const thumbnail = video.thumbnailOf(index);
    const span = `${labels[label].name}, ${clock(start)} to ${clock(end)}, score ${fixed(score)}`;
    const line = make("tr", { "data-index": index, "aria-rowindex": number, class: index === chosen ? "chosen" : null, onclick: () => select(index) },
      make("td", { class: "thumbnail" }, make("button", { type: "button", class: "play", title: "Play this segment", "aria-label": `Play ${span}`, onclick: (event) => { event.stopPropagation(); play(index); } },
        thumbnail
          ? make("img", { src: thumbnail, alt: "", loading: "lazy" })
          : make("span", { class: "blank", "data-label": label, style: { "--c": colourOf(label) } }),
        icon("start"))),
      make("td", {}, make("button", { type: "button", class: "go", "aria-label": `Go to ${span}`, onclick: (event) => { event.stopPropagation(); select(index); } }, swatch(label), make("span", { class: "name" }, labels[label].name))),
      make("td", { class: "number" }, clock(start)),
      make("td", { class: "number wide" }, clock(end)),
      make("td", { class: "number" }, start === end ? "point" : fixed(end - start)),
      make("td", { class: "number score" }, make("span", { class: "meter", style: { "--share": shareOf(score) } }), fixed(score)));
    if (matched) line.append(make("td", { class: "number wide" }, matches[index].text));
    return line;
  }
  return {
    root, follow,
    choose(index) {
      chosen = index;
      for (const line of body.querySelectorAll(".chosen")) line.classList.remove("chosen");
      const line = index === null ? null : body.querySelector(`[data-index="${index}"]`);
      if (line) line.classList.add("chosen");
    },
    close: () => seen.disconnect(),
  };
}

// For each segment the largest intersection over union with an annotation of its label, for points how far off the nearest is.
function matchesOf(video) {
  const byLabel = new Map();
  for (const item of video.truth) byLabel.set(item[LABEL], [...(byLabel.get(item[LABEL]) || []), item]);
  return video.segments.map(([label, start, end]) => {
    const same = byLabel.get(label) || [];
    if (start === end) {
      const off = Math.min(...same.filter(([, from, to]) => from === to).map(([, from]) => Math.abs(from - start)));
      return { order: -off, text: Number.isFinite(off) ? `${fixed(off)} s off` : "–" };
    }
    let best = 0;
    for (const [, from, to] of same) {
      const shared = Math.min(end, to) - Math.max(start, from);
      if (shared > 0) best = Math.max(best, shared / (Math.max(end, to) - Math.min(start, from)));
    }
    return { order: best, text: best ? fixed(best) : "–" };
  });
}
