// What is said to the person, and the helpers that the report has as well.

import { clock as clockOf, find } from "./elements.js";

export { counted, find, make, sharpen } from "./elements.js";
export const clock = (seconds, digits = 3) => clockOf(seconds, digits);

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

export const newId = () => [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => byte.toString(36).padStart(2, "0")).join("").slice(0, 10);
