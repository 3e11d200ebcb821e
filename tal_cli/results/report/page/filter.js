// The score slider, with a histogram behind it, and a switch per label.

const MANY_LABELS = 24;
const BINS = 50;

// present: the labels there are; count: tells how many segments each has now; scores: all of them, for the histogram.
function makeFilter(present, count, scores) {
  present.sort(byLabel);
  const output = make("output", { for: "lowest" });
  const slider = make("input", {
    type: "range", id: "lowest", min: LOWEST, max: HIGHEST, step: (HIGHEST - LOWEST) / 100,
    oninput: () => { state.lowest = Number(slider.value); show(); changed(); },
  });
  slider.value = state.lowest;
  const histogram = make("canvas", { class: "histogram", "aria-hidden": "true" });
  const list = make("div", { class: "chips", role: "group", "aria-label": "Labels" });
  const boxes = present.map((label) => {
    const box = make("input", {
      type: "checkbox",
      onchange: () => { state.hidden[box.checked ? "delete" : "add"](label); changed(); },
    });
    box.checked = !state.hidden.has(label);
    const chip = make("label", {
      class: "chip", title: "Double-click: this one alone",
      ondblclick: (event) => { event.preventDefault(); setAll((other) => other === label); },
    }, box, swatch(label), make("span", { class: "name" }, labels[label].name), make("span", { class: "count" }));
    list.append(chip);
    return { label, box, chip, number: chip.lastChild };
  });
  function setAll(wanted) {
    for (const { label, box } of boxes) {
      box.checked = wanted(label);
      state.hidden[box.checked ? "delete" : "add"](label);
    }
    changed();
  }
  const search = present.length > MANY_LABELS ? make("input", {
    type: "search", placeholder: "Find a label", "aria-label": "Find a label",
    oninput: () => boxes.forEach(({ label, chip }) => {
      chip.hidden = !labels[label].name.toLowerCase().includes(search.value.toLowerCase());
    }),
  }) : null;
  const root = make("section", { class: "panel filter", "aria-label": "Filter" },
    make("div", { class: "scores" },
      make("div", { class: "row" }, make("label", { for: "lowest" }, "Minimum score"), output),
      make("div", { class: "slider" }, histogram, slider)),
    make("div", {},
      make("div", { class: "row" },
        make("span", { class: "caption" }, counted(present.length, "label")),
        search,
        make("span", { class: "buttons" },
          make("button", { type: "button", class: "small", onclick: () => setAll(() => true) }, "All"),
          make("button", { type: "button", class: "small", onclick: () => setAll(() => false) }, "None"))),
      list));

  function show() {
    output.textContent = state.lowest.toFixed(2);
    slider.setAttribute("aria-valuetext", state.lowest.toFixed(2));
    if (scores) drawHistogram(histogram, scores);
  }
  function follow() {
    recolour(root);
    const counts = count();
    for (const { label, box, number } of boxes) {
      box.checked = !state.hidden.has(label);
      number.textContent = (counts[label] || 0).toLocaleString("en");
    }
    show();
  }
  return { root, follow };
}

function drawHistogram(canvas, scores) {
  const { clientWidth: width, clientHeight: height } = canvas.parentElement;
  if (!width) return;
  const bins = new Array(BINS).fill(0);
  for (const score of scores) bins[Math.min(BINS - 1, Math.floor(shareOf(score) * BINS))] += 1;
  const most = Math.max(1, ...bins);
  const tall = height - 16;
  const pen = sharpen(canvas, width, tall);
  const style = getComputedStyle(document.documentElement);
  const room = width - 16; // the slider's thumb keeps 8 px from either end
  bins.forEach((count, bin) => {
    if (!count) return;
    const high = Math.max(1.5, (tall - 2) * Math.sqrt(count / most));
    pen.fillStyle = style.getPropertyValue((bin + 0.5) / BINS >= shareOf(state.lowest) ? "--accent" : "--faint");
    pen.fillRect(8 + (room * bin) / BINS, tall - high, room / BINS - 1, high);
  });
}
