// Data, small helpers, and the state that everything on the page follows.

const find = (selector, root = document) => root.querySelector(selector);

// An element with attributes, listeners (onclick: ...) and children. Text is only ever text, never markup.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

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

// Halves go to the even neighbour, as in Python, so that page and table show the same number.
function roundHalfEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 && low % 2 === 0 ? low : Math.round(value);
}
function fixed(value) {
  const isHalf = Number.isInteger(8 * value) && !Number.isInteger(4 * value); // the only doubles amid two hundredths
  return isHalf ? (roundHalfEven(100 * value) / 100).toFixed(2) : value.toFixed(2);
}
function clock(seconds, digits = 2) {
  const scale = 10 ** digits;
  const whole = roundHalfEven(Math.max(0, seconds) * scale);
  const minutes = Math.floor(whole / (60 * scale));
  const rest = ((whole - minutes * 60 * scale) / scale).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const counted = (number, thing) => `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;
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

// A canvas as sharp as the screen; returns its context in CSS pixels and clears it.
function sharpen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// One bar of a timeline; labels of the second round of colours carry stripes.
function drawBar(pen, label, x, y, width, height) {
  pen.fillStyle = colourOf(label);
  pen.beginPath();
  pen.roundRect(x, y, width, height, Math.min(3, width / 2));
  pen.fill();
  if (!labels[label].round) return;
  pen.save();
  pen.clip();
  pen.strokeStyle = state.dark ? "#0008" : "#fffa";
  pen.lineWidth = 2;
  pen.beginPath();
  for (let at = x - height; at < x + width; at += 6) {
    pen.moveTo(at, y + height);
    pen.lineTo(at + height, y);
  }
  pen.stroke();
  pen.restore();
}
