// Many videos: a card each, filled when it comes into sight.

const STRIP = 42; // pixels for the lanes of all labels

function openIndex() {
  // The page's own counts tell of everything; what a score leaves, only the segments.
  const countsOf = (number) => (state.lowest > page.begins ? countLabels(videoData(number).segments) : page.videos[number].counts);
  const sumOf = (counts) => Object.entries(counts).reduce((sum, [label, count]) => sum + (state.hidden.has(Number(label)) ? 0 : count), 0);
  const present = [...new Set(page.videos.flatMap((video) => Object.keys(video.counts)))].map(Number);
  const filter = makeFilter(present, () => {
    const counts = {};
    for (const card of cards) for (const [label, count] of Object.entries(card.counts)) counts[label] = (counts[label] || 0) + count;
    return counts;
  });
  const list = make("ul", { class: "cards" });
  const search = make("input", { type: "search", placeholder: "Find a video", "aria-label": "Find a video", oninput: arrange });
  const sorting = make("select", { "aria-label": "Order", onchange: arrange },
    make("option", { value: "name" }, "by name"), make("option", { value: "count" }, "most segments first"), make("option", { value: "duration" }, "longest first"));
  const found = make("span", { class: "caption", role: "status" });
  const root = make("div", { class: "view overview" }, filter.root,
    make("div", { class: "row finder" }, found, make("span", { class: "buttons" }, search, sorting)), list);

  const cards = page.videos.map((video, number) => {
    const total = Object.values(video.counts).reduce((sum, count) => sum + count, 0);
    const strip = make("canvas", { "aria-hidden": "true" });
    const count = make("span", { class: "count" }, counted(total, "segment"));
    const link = make("a", { href: placeOf(number, 0) },
      make("div", { class: "poster" }, video.poster ? make("img", { src: video.poster, alt: "", loading: "lazy" }) : make("span", { class: "blank" }), make("span", { class: "length" }, clock(video.duration, 0))),
      make("strong", {}, video.name), make("div", { class: "strip" }, strip), count);
    const item = make("li", { class: "card" }, link);
    return { video, number, total, strip, count, item, seen: false, counts: video.counts, shown: total };
  });
  const byItem = new Map(cards.map((card) => [card.item, card]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const card = byItem.get(entry.target);
      card.seen = entry.isIntersecting;
      if (card.seen) fill(card);
    }
  }, { rootMargin: "300px" });
  cards.forEach((card) => watcher.observe(card.item));

  function fill(card) {
    const { segments, duration } = videoData(card.number);
    const width = card.strip.parentElement.clientWidth;
    const shown = segments.filter(isShown);
    const rows = Object.keys(card.video.counts).map(Number).sort(byLabel);
    const pitch = Math.max(2, Math.min(7, STRIP / Math.max(1, rows.length)));
    const pen = sharpen(card.strip, width, STRIP);
    for (const segment of shown) {
      pen.globalAlpha = opacityOf(segment[SCORE]);
      const left = (segment[START] / duration) * width;
      pen.fillStyle = colourOf(segment[LABEL]);
      pen.fillRect(left, rows.indexOf(segment[LABEL]) * pitch, Math.max(1.5, (segment[END] / duration) * width - left), pitch - 0.5);
    }
  }
  function arrange() {
    const order = {
      name: (a, b) => byName(a.video.name, b.video.name),
      count: (a, b) => b.shown - a.shown,
      duration: (a, b) => b.video.duration - a.video.duration,
    }[sorting.value];
    const wanted = search.value.toLowerCase();
    const shown = cards.filter((card) => card.video.name.toLowerCase().includes(wanted)).sort(order);
    const sum = (key) => shown.reduce((all, card) => all + card[key], 0);
    found.textContent = `${someOf(shown.length, cards.length, "video")} · ${someOf(sum("shown"), sum("total"), "segment")}`;
    if (shown.some((card, place) => list.children[place] !== card.item) || list.children.length !== shown.length) {
      list.replaceChildren(...shown.map((card) => card.item));
    }
  }
  const refill = () => {
    for (const card of cards) {
      card.counts = countsOf(card.number);
      card.shown = sumOf(card.counts);
      card.count.textContent = someOf(card.shown, card.total, "segment");
      card.item.classList.toggle("none", !card.shown && card.total > 0);
      if (card.seen) fill(card);
    }
    filter.follow();
    arrange();
  };
  const stop = onChange(refill);
  return {
    root, keys: {},
    title: counted(page.videos.length, "video"),
    facts: [`tal ${page.run.version}`, page.run.model, page.run.threshold].filter(Boolean).join(" · "),
    start: refill,
    seek() {},
    close() { stop(); watcher.disconnect(); },
  };
}
