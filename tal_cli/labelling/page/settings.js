// Settings, kept in the annotation file; and the theme, kept in the browser.

import { post } from "./api.js";
import { find, make, say } from "./dom.js";
import { changed, DEFAULTS, setting, state } from "./state.js";
import { readColours } from "./lanes.js";

export function saveSettings(some) {
  state.project.settings = { ...state.project.settings, ...some };
  post("/api/settings", state.project.settings).catch((error) => say(error.message, "error"));
  changed();
}

const NUMBERS = {
  step: ["One step, frames", 1], big: ["A big step, frames", 1], far: ["A far step, seconds", 0.1],
  reaction: ["Reaction time, ms", 0], pad: ["Loop: seconds around the segment", 0],
};
export async function showSettings(open) {
  const inputs = Object.entries(NUMBERS).map(([key, [name, least]], place) => {
    const input = make("input", { type: "number", min: least, step: "any", value: setting(key), autofocus: place === 0 });
    return { key, input, row: make("label", { class: "field" }, make("span", {}, name), input) };
  });
  const lanes = make("select", {}, make("option", { value: "label" }, "one per label"), make("option", { value: "subject" }, "one per subject and label"));
  lanes.value = setting("lanes");
  const rows = [...inputs.map(({ row }) => row), make("label", { class: "field" }, make("span", {}, "Lanes"), lanes)];
  if (!(await open("Settings", rows, [["Keep", true, true], ["Cancel", null]]))) return;
  const kept = { lanes: lanes.value };
  for (const { key, input } of inputs) {
    const number = Number(input.value);
    kept[key] = Number.isFinite(number) && number >= NUMBERS[key][1] ? number : DEFAULTS[key];
  }
  saveSettings(kept);
}

export function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  readColours();
  changed();
}
export function listenToTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let kept = localStorage.getItem("tal label theme");
  useTheme(kept || (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => { if (!kept) useTheme(dark.matches ? "dark" : "light"); });
  find("#theme").addEventListener("click", () => {
    kept = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("tal label theme", kept);
    useTheme(kept);
  });
}
