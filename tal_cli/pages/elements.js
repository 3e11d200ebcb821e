// Elements, texts and canvases.

export const find = (selector, root = document) => root.querySelector(selector);

// An element with attributes, listeners (onclick: ...) and children. Text is only ever text, never markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Halves go to the even neighbour, as in Python, so that pages and tables show the same number.
export function roundHalfEven(value) {
  const low = Math.floor(value);
  return value - low === 0.5 && low % 2 === 0 ? low : Math.round(value);
}

// Seconds as 1:02.500 or 1:00:02.500.
export function clock(seconds, digits = 2) {
  const scale = 10 ** digits;
  const whole = roundHalfEven(Math.max(0, seconds) * scale);
  const minutes = Math.floor(whole / (60 * scale));
  const rest = ((whole - minutes * 60 * scale) / scale).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

export const counted = (number, thing) => `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;

// A canvas as sharp as the screen; its context in CSS pixels, cleared.
export function sharpen(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, tall] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== wide || canvas.height !== tall) {
    [canvas.width, canvas.height] = [wide, tall];
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  if (pen.reset) pen.reset();
  else canvas.width = wide; // empties it, too
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
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
