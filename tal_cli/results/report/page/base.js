// Data, and the state that everything on the page follows.

const page = JSON.parse(find("#page").textContent);
const labels = page.labels;
const parsed = new Map();

// What an element of the page holds is parsed when it is first wanted.
function held(id) {
  if (!parsed.has(id)) {
    const holder = document.getElementById(id);
    parsed.set(id, JSON.parse(holder.textContent));
    holder.remove();
  }
  return parsed.get(id);
}
const videoData = (number) => held(`data-${number}`);

const LABEL = 0, START = 1, END = 2, SCORE = 3;
const [LOWEST, HIGHEST] = page.scores;

const state = { lowest: page.begins, hidden: new Set(), video: null, dark: false };

const followers = new Set();
// Call `follow` now and after every change of the filter or the theme, until the returned function is called.
function onChange(follow) {
  followers.add(follow);
  return () => followers.delete(follow);
}
let announced = 0;
function changed() {
  cancelAnimationFrame(announced);
  announced = requestAnimationFrame(() => followers.forEach((follow) => follow()));
}

// Videos stop a little before or after the moment that was asked for.
const lasts = (segment, time) => segment[START] <= time + 0.005 && time < segment[END];
const isShown = (segment) => segment[SCORE] >= state.lowest && !state.hidden.has(segment[LABEL]);
// label -> how many segments reach the lowest score, whether the label is switched on or not.
function countLabels(segments) {
  const counts = {};
  for (const [label, , , score] of segments) if (score >= state.lowest) counts[label] = (counts[label] || 0) + 1;
  return counts;
}
const colourOf = (label) => (state.dark ? labels[label].dark : labels[label].light);
const shareOf = (score) => (score - LOWEST) / (HIGHEST - LOWEST);
// What is less certain is fainter, and never invisible.
const opacityOf = (score) => 0.28 + 0.72 * shareOf(score);

function fixed(value) {
  const isHalf = Number.isInteger(8 * value) && !Number.isInteger(4 * value); // the only doubles amid two hundredths
  return isHalf ? (roundHalfEven(100 * value) / 100).toFixed(2) : value.toFixed(2);
}
const someOf = (shown, all, thing) => (shown === all ? counted(all, thing) : `${shown.toLocaleString("en")} of ${counted(all, thing)}`);
const byName = new Intl.Collator(undefined, { numeric: true }).compare;
const byLabel = (a, b) => byName(labels[a].name, labels[b].name);

let fading = 0;
// For screen readers; if `seen`, for everybody, for a while.
function say(text, seen = false) {
  const said = find("#said");
  said.textContent = text;
  said.classList.toggle("unseen", !seen);
  clearTimeout(fading);
  if (seen) fading = setTimeout(() => said.classList.add("unseen"), 2000);
}

const SHAPES = {
  previous: "M6 5h2v14H6zM19 5v14l-10-7z",
  play: "M5 4v16l9-8zM16 4h2v16h-2zM20 4h2v16h-2z",
  start: "M6 4v16l13-8z",
  next: "M16 5h2v14h-2zM5 5v14l10-7z",
  link: "M10 14a4 4 0 0 1 0-5.7l3-3a4 4 0 0 1 5.7 5.7l-1.6 1.6-1.4-1.4 1.6-1.6a2 2 0 0 0-2.9-2.9l-3 3a2 2 0 0 0 0 2.9zm4-4a4 4 0 0 1 0 5.7l-3 3a4 4 0 0 1-5.7-5.7l1.6-1.6 1.4 1.4-1.6 1.6a2 2 0 0 0 2.9 2.9l3-3a2 2 0 0 0 0-2.9z",
};
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

function swatch(label) {
  const kind = labels[label].round ? "swatch striped" : "swatch";
  return make("span", { class: kind, "data-label": label, "aria-hidden": "true", style: { "--c": colourOf(label) } });
}

function recolour(root) {
  for (const element of root.querySelectorAll("[data-label]")) {
    element.style.setProperty("--c", colourOf(Number(element.dataset.label)));
  }
}
