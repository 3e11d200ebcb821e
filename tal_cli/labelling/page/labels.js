// The dialog in which labels and subjects are made, renamed, merged and ordered.

import { make } from "./dom.js";
import { open } from "./dialogs.js";
import { answered, change, state } from "./state.js";

const COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000"];
const PLAIN = new Set(["number", "external"]);  // kinds of modifier sets without a list of values

// Modifier sets as text: `speed: slow|fast; count: number; parts: paw+tail`.
function setsText(sets) {
  return (sets || []).map((set) => `${set.name}: ${PLAIN.has(set.kind) ? set.kind : (set.values || []).join(set.kind === "several" ? "+" : "|")}`).join("; ");
}
function setsOf(text) {
  return text.split(";").map((part) => part.trim()).filter(Boolean).map((part) => {
    const [name, values = ""] = part.includes(":") ? part.split(/:(.*)/s).map((side) => side.trim()) : ["", part];
    if (PLAIN.has(values)) return { name, kind: values, values: [] };
    const kind = values.includes("+") ? "several" : "one";
    return { name, kind, values: values.split(kind === "several" ? "+" : "|").map((value) => value.trim()).filter(Boolean) };
  });
}

export async function showLabels() {
  const body = make("tbody");
  const rows = [];
  function add(label, isNew = false) {
    const row = {
      old: isNew ? null : label.name, extra: label,
      name: make("input", { value: label.name, "aria-label": "Name", autofocus: isNew }),
      kind: make("select", { "aria-label": "Kind" }, ["state", "point"].map((kind) => make("option", { value: kind }, kind))),
      key: make("input", { value: label.key || "", maxlength: 1, size: 2, "aria-label": "Key" }),
      color: make("input", { type: "color", value: label.color || COLOURS[rows.length % 8], "aria-label": "Colour" }),
      pattern: make("select", { "aria-label": "Pattern" }, make("option", { value: "" }, "plain"), make("option", { value: "hatched" }, "hatched")),
      group: make("input", { value: label.group || "", size: 8, "aria-label": "Exclusive group", title: "Labels of one group end one another" }),
      modifiers: make("input", { value: setsText(label.modifiers), size: 14, "aria-label": "Modifiers", title: "speed: slow|fast; parts: paw+tail; count: number" }),
    };
    row.kind.value = label.kind || "state";
    row.pattern.value = label.pattern || "";
    const shift = (by) => {
      const place = rows.indexOf(row), other = place + by;
      if (other < 0 || other >= rows.length) return;
      rows.splice(place, 1);
      rows.splice(other, 0, row);
      body.replaceChildren(...rows.map((one) => one.line));
    };
    const small = (text, name, act) => make("button", { type: "button", class: "small", "aria-label": `${name} ${label.name}`, onclick: act }, text);
    row.line = make("tr", {}, ...[row.name, row.kind, row.key, row.color, row.pattern, row.group, row.modifiers].map((input) => make("td", {}, input)),
      make("td", {}, small("↑", "Move up", () => shift(-1)), small("↓", "Move down", () => shift(1)), small("×", "Delete", () => {
        rows.splice(rows.indexOf(row), 1);
        row.line.remove();
      })));
    rows.push(row);
    body.append(row.line);
    if (isNew) row.name.focus();
  }
  state.project.labels.forEach((label) => add(label));
  const subjects = make("input", { value: state.project.subjects.join(", "), "aria-label": "Subjects, with commas" });
  const head = ["Name", "Kind", "Key", "Colour", "", "Group", "Modifiers", ""].map((name) => make("th", {}, name));
  const contents = [make("table", {}, make("thead", {}, make("tr", {}, head)), body),
    make("button", { type: "button", onclick: () => add({ name: "" }, true) }, "Add a label"),
    make("p", {}, "The name of another label merges the two. Labels of one group end one another."),
    make("label", { class: "field" }, make("span", {}, "Subjects"), subjects)];
  await open("Labels and subjects", contents, [["Keep", true, true], ["Cancel", null]], () => keep(rows, subjects.value));
}

// What the server says against the labels and subjects, or nothing.
function keep(rows, subjects) {
  const rename = {}, labels = [];
  for (const row of rows) {
    const name = row.name.value.trim();
    if (!name) continue;
    if (row.old && row.old !== name) rename[row.old] = name;
    if (labels.some((label) => label.name === name)) continue; // merged
    labels.push({ ...row.extra, name, kind: row.kind.value, key: row.key.value, color: row.color.value, pattern: row.pattern.value, group: row.group.value.trim(), modifiers: setsOf(row.modifiers.value) });
  }
  const wanted = subjects.split(",").map((name) => name.trim()).filter(Boolean);
  const ops = [{ op: "labels", labels, rename }];
  if (wanted.join() !== state.project.subjects.join()) ops.push({ op: "subjects", subjects: wanted });
  return new Promise((resolve) => {
    change(ops, { told: (answer, error, item) => {
      if (answer || error.content.newer) answered(answer, error, item);
      resolve(answer || error.content.newer ? "" : error.message);
    } });
  });
}
