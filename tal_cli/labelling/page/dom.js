// Small helpers for elements and texts.

export const find = (selector, root = document) => root.querySelector(selector);

// An element with attributes, listeners (onclick: ...) and children. Text is only ever text, never markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

let fading = 0;
// A line for everybody, and for screen readers.
export function say(text, kind = "") {
  const said = find("#said");
  said.textContent = text;
  said.dataset.kind = kind;
  said.classList.remove("faded");
  clearTimeout(fading);
  fading = setTimeout(() => said.classList.add("faded"), kind === "error" ? 8000 : 3500);
}

// For screen readers alone.
export function whisper(text) {
  find("#whispered").textContent = text;
}

// Seconds as 1:02.500 or 1:00:02.500.
export function clock(seconds, digits = 3) {
  const scale = 10 ** digits;
  const whole = Math.round(Math.max(0, seconds) * scale);
  const minutes = Math.floor(whole / (60 * scale));
  const rest = ((whole - minutes * 60 * scale) / scale).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export const counted = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;
export const newId = () => [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(36).padStart(2, "0")).join("").slice(0, 10);

// A canvas as sharp as the screen; its context in CSS pixels, cleared.
export function sharpen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, tall] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== wide || canvas.height !== tall) {
    canvas.width = wide;
    canvas.height = tall;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// The first index of a sorted list at which `isAfter` holds.
export function firstIndex(length, isAfter) {
  let low = 0, high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isAfter(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
