// Dialogs: questions, keys, the form of a segment, conflicts.

import { outbox } from "./api.js";
import { find, make, say } from "./dom.js";
import { frameOf } from "./frames.js";
import { clash, COMMANDS, keyName, keysOf } from "./keys.js";
import { answered, change, chosen, labelOf, reload, state } from "./state.js";
import { saveSettings } from "./settings.js";

// A dialog with a heading, contents and buttons; resolves with the value of the button, or null. check: says, or promises
// to say, what is wrong with what was entered: then the main button keeps the dialog open.
export function open(heading, contents, buttons = [["Close", "close"]], check = null) {
  return new Promise((resolve) => {
    const dialog = make("dialog", { "aria-label": heading });
    const problem = make("p", { class: "problem", role: "status", hidden: !check });
    const done = async (value, isMain) => {
      problem.textContent = (check && isMain && (await check())) || "";
      if (problem.textContent) return;
      dialog.remove();
      resolve(value);
      find("#video").focus?.();
    };
    const row = make("div", { class: "buttons" }, buttons.map(([name, value, isMain]) => make("button", { type: "button", class: isMain ? "main" : "", onclick: () => done(value, isMain) }, name)));
    dialog.append(make("h2", {}, heading), ...[contents].flat(), problem, row);
    // Enter in a field is the main button, also in those in which browsers do nothing with it.
    dialog.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.repeat || event.isComposing || !event.target.matches("select, input:not([type=color])")) return;
      event.preventDefault();
      row.querySelector(".main")?.click();
    });
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); done(null); });
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") || row.querySelector(".main") || row.firstChild)?.focus();
  });
}

export async function ask(question, act) {
  if (await open(question, [], [["Yes", true, true], ["No", null]])) act();
}

// ---- keys

const WRITTEN = { Mod: "Ctrl", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", PageUp: "Page Up", PageDown: "Page Down", NumpadSubtract: "− (numpad)", NumpadAdd: "+ (numpad)", Escape: "Esc" };
const written = (key) => key.replace(/\w{2,}/g, (word) => WRITTEN[word] || word);

export function showKeys() {
  const search = make("input", { type: "search", placeholder: "Find a key", "aria-label": "Find a key", autofocus: true, oninput: filter });
  const body = make("tbody");
  const problem = make("p", { class: "problem", role: "status" });
  function row(name, keys, id) {
    const shown = keys.flatMap((key) => [make("kbd", {}, written(key)), " "]);
    const button = id && !COMMANDS[id].fixed ? make("button", { type: "button", class: "small", "aria-label": `Change the key of ${name}`, onclick: () => catchKey(id, button) }, "change") : "";
    return make("tr", { "data-text": `${name} ${keys.join(" ")}`.toLowerCase() }, make("td", {}, name), make("td", {}, ...shown), make("td", {}, button));
  }
  function fill() {
    body.replaceChildren(
      ...state.project.labels.map((label) => row(`label ${label.name}: ${label.kind === "point" ? "sets it" : "tap to begin and to end, or hold"}`, [label.key || "none"])),
      ...Object.entries(COMMANDS).map(([id, { name }]) => row(name, keysOf(id).slice(0, 2), id)));
    filter();
  }
  function filter() {
    for (const line of body.children) line.hidden = !line.dataset.text.includes(search.value.toLowerCase());
  }
  function catchKey(id, button) {
    button.textContent = "press a key …";
    const caught = (event) => {
      event.preventDefault();
      event.stopPropagation();
      if (["Shift", "Control", "Alt", "Meta"].includes(event.key)) return;
      button.removeEventListener("keydown", caught);
      const name = keyName(event);
      problem.textContent = clash(id, name);
      if (!problem.textContent) saveSettings({ keys: { ...state.project.settings.keys, [id]: name } });
      fill();
    };
    button.addEventListener("keydown", caught);
  }
  fill();
  open("Keys", [search, problem, make("table", { class: "keys" }, body)]);
}

// ---- the form of a segment

const USUAL = { comment: "", modifiers: [] };
const sameList = (a, b) => JSON.stringify(a) === JSON.stringify(b);

export async function showForm() {
  const item = chosen();
  if (!item) {
    say("select one segment first: ↓ or ↑");
    return;
  }
  const { frames } = state;
  const option = (value, text = value) => make("option", { value }, text);
  const field = (name, input) => make("label", { class: "field" }, make("span", {}, name), input);
  const label = make("select", { autofocus: true }, state.project.labels.filter((one) => one.kind === item.kind).map(({ name }) => option(name)));
  label.value = item.label;
  const subject = make("select", {}, option("", "none"), state.project.subjects.map((name) => option(name)));
  subject.value = item.subject ?? "";
  const comment = make("input", { value: item.comment || "" });
  const start = make("input", { value: `f${frames.first(item.segment)}` });
  const end = make("input", { value: `f${frames.last(item.segment)}` });
  const modifiers = make("div");
  let sets = [];
  label.onchange = () => {
    sets = modifierInputs(labelOf(label.value)?.modifiers || [], label.value === item.label ? item.modifiers || [] : []);
    modifiers.replaceChildren(...sets.map(({ name, input }) => field(name, input)));
  };
  label.onchange();
  const fields = [field("Label", label), field("Subject", subject), modifiers, field("Comment", comment),
    field("First frame", start), item.kind === "point" ? "" : field("Last frame", end)];
  let keep = {};
  function check() {
    const first = frameOf(start.value, frames);
    const last = item.kind === "point" ? first : frameOf(end.value, frames);
    if (first === null || last === null || last < first) return "times are 1:02.5, 62.5 or f1550, within the video, the first before the last";
    const segment = [frames.edges[first], item.kind === "point" ? frames.edges[first] : frames.edges[last + 1]];
    const wanted = { label: label.value, subject: subject.value || null, comment: comment.value, segment, modifiers: sets.map(({ value }) => value()) };
    if (!sets.length && label.value === item.label) delete wanted.modifiers;
    keep = Object.fromEntries(Object.entries(wanted).filter(([name, value]) => !sameList(value, item[name] ?? USUAL[name] ?? null)));
    return "";
  }
  const answer = await open(`${item.kind === "point" ? "Point" : "Segment"}: ${item.label}`, fields, [["Keep", true, true], ["Cancel", null]], check);
  if (answer && Object.keys(keep).length) change([{ op: "update", id: item.id, ...keep }]);
}

// Inputs for the sets of modifiers: one of several values, several of them, or a number.
function modifierInputs(sets, values) {
  return sets.map((set, place) => {
    const now = [values[place] ?? []].flat();
    if (set.kind === "number" || set.kind === "external") {
      const input = make("input", { type: set.kind === "number" ? "number" : "text", step: "any", value: now[0] ?? "" });
      return { name: set.name || set.kind, input, value: () => (input.value === "" ? [] : [input.value]) };
    }
    const input = make("select", { multiple: set.kind === "several" }, set.kind === "several" ? [] : make("option", { value: "" }, "none"), (set.values || []).map((value) => make("option", { value }, value)));
    for (const option of input.options) option.selected = now.includes(option.value);
    return { name: set.name || "modifier", input, value: () => [...input.selectedOptions].map((option) => option.value).filter(Boolean) };
  });
}

// ---- two windows, one segment

const times = (item) => (item ? `${item.label}, ${item.segment[0].toFixed(3)} to ${item.segment[1].toFixed(3)} s${item.subject ? `, ${item.subject}` : ""}` : "deleted");
export async function showConflict(error, { video, ops }) {
  const { newer, revision } = error.content;
  const lines = newer.map((thing) => make("p", {}, thing.after || thing.what === "annotation" ? `There: ${times(thing.after)}` : `There: ${thing.what} changed`));
  const mine = ops.map((op) => make("p", {}, `Here: ${op.op}${op.segment ? ` to ${op.segment.map((time) => time.toFixed(3)).join(" – ")} s` : ""}${op.label ? ` ${op.label}` : ""}`));
  const keep = await open("Another window has changed the same thing", [...lines, ...mine], [["Keep mine", "mine"], ["Keep theirs", "theirs", true]]);
  outbox.revision = Math.max(outbox.revision, revision);
  if (keep === "mine") outbox.add(video, ops, { answered });
  reload();
}

export async function showForeign(difference, settle) {
  const lines = Object.entries(difference.videos || {}).map(([name, { mine, theirs, changed: other }]) =>
    make("p", {}, `${name}: ${mine} only here, ${theirs} only in the file, ${other} different`));
  const text = difference.readable ? "Another program has changed the annotation file. Both versions are kept; which one goes on?" : "Another program has changed the annotation file, and it cannot be read any more. A copy of it is kept.";
  const buttons = difference.readable ? [["Both together", "both", true], ["The one here", "mine"], ["The file's", "theirs"]] : [["Write it again", "mine", true]];
  const keep = await open("The file has changed", [make("p", {}, text), ...lines], [...buttons, ["Later", null]]);
  if (keep) settle(keep);
}

export async function showExport() {
  const select = make("select", { autofocus: true, "aria-label": "Form" }, state.project.forms.map((form) => make("option", { value: form }, form)));
  if (!(await open("Export the annotations", [make("label", { class: "field" }, make("span", {}, "Form"), select)], [["Download", true, true], ["Cancel", null]]))) return;
  try {
    const answer = await fetch(`/api/export?format=${encodeURIComponent(select.value)}`);
    if (!answer.ok) throw new Error((await answer.json()).error);
    const name = /filename="([^"]*)"/.exec(answer.headers.get("Content-Disposition") || "")?.[1] || "labels";
    const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  } catch (error) {
    say(error.message, "error");
  }
}

export async function openBouts() {
  const names = [...state.open.values()].map((bout) => bout.label).join(", ");
  return open(`Bouts are still open: ${names}`, [], [["End them here", "here", true], ["End them at the end of the video", "end"], ["Drop them", "drop"], ["Stay", null]]);
}
