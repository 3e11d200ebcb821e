// The lists beside the video and the line below it.

import { get, outbox, post } from "./api.js";
import { clock, counted, find, make, say } from "./dom.js";
import { describe, goTo } from "./commands.js";
import { frameOf } from "./frames.js";
import { timeline } from "./lanes.js";
import { press, release } from "./record.js";
import { share, toggleRecording } from "./review.js";
import { colourOf } from "./segments.js";
import { changed, chosen, follow, setting, state } from "./state.js";
import { player } from "./video.js";

export let queue = [];
let openVideo = () => {};
export const videosWith = (open) => { openVideo = open; };

// Rows are kept while nothing in them changes, so that the focus stays where it is.
function fill(list, rows, write) {
  const key = JSON.stringify(rows);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...rows.map(write));
}

function showVideos() {
  const rows = state.project.videos.map((video) => {
    const isCurrent = video.id === state.video?.id;
    const seen = isCurrent ? share() : video.reviewed_share;
    return { id: video.id, name: video.name, isCurrent, problem: video.problem, seen: seen ? `${Math.floor(seen * 100 + 1e-6)} %${seen > 0.9999 ? " ✓" : ""}` : "–" };
  });
  fill(find("#videos"), rows, (row) => make("li", {}, make("button", { type: "button", "aria-current": String(row.isCurrent), title: row.problem || row.name, onclick: () => openVideo(row.id) },
    make("span", { class: "name" }, row.name.split(/(?<=[_.])/).flatMap((part) => [part, make("wbr")])), make("span", { class: "count" }, row.problem ? "unreadable" : row.seen))));
}

function showLabels() {
  const counts = {};
  for (const item of state.annotations.values()) counts[item.label] = (counts[item.label] || 0) + 1;
  const running = new Set([...state.open.values()].map((bout) => bout.label));
  const rows = state.project.labels.map((label) => ({ ...label, count: counts[label.name] || 0, isOpen: running.has(label.name), theme: document.documentElement.dataset.theme }));
  fill(find("#labels"), rows, (label) => {
    const kind = label.kind === "point" ? " (point)" : "";
    const act = (event) => {
      const moment = { timeStamp: event.timeStamp, code: `button ${label.name}` };
      press(label, moment);
      release(moment);
    };
    return make("li", {}, make("button", { type: "button", "aria-pressed": String(label.isOpen), "aria-label": `${label.name}${kind}, key ${label.key || "none"}, ${label.count} in this video`, onclick: act },
      make("span", { class: `swatch ${label.kind} ${label.pattern || ""}`, "aria-hidden": "true", style: { "--c": colourOf(label) } }),
      make("kbd", {}, label.key || " "), make("span", { class: "name" }, label.name + kind), make("span", { class: "count" }, String(label.count))));
  });
  const subjects = ["", ...state.project.subjects].map((subject, place) => ({ subject, place, isActive: (state.subject ?? "") === subject }));
  fill(find("#subjects"), subjects, ({ subject, place, isActive }) => make("button", { type: "button", "aria-pressed": String(isActive), onclick: () => { state.subject = subject || null; changed(); } },
    make("span", { class: "name" }, subject || "none"), place < 10 ? make("kbd", {}, `⇧${place}`) : null));
}

function showChosen() {
  const box = find("#chosen");
  const item = chosen();
  const text = item ? describe(item) : state.selected.size ? counted(state.selected.size, "segment") : "nothing";
  const key = text + (item?.comment || "") + state.edge;
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(make("strong", {}, text), item?.comment ? make("span", {}, item.comment) : "", state.edge ? make("span", {}, `${state.edge} is held: ← → move it`) : "");
}

export function showFrame() {
  const { frames, frame } = state;
  if (!find("#timeinput")) find("#time").textContent = clock(frames ? frames.edges[frame] : 0);
  const line = find("#frame");
  line.textContent = frames ? `f ${frame} / ${frames.count}${player.isWrong ? " (not exact)" : ""}` : "counting frames …";
  line.classList.toggle("wrong", player.isWrong);
  line.classList.toggle("pending", player.isSeeking);
}

// While the frames of a video are counted for the first time, it plays already.
export function showCounting(share) {
  if (!state.frames && share) find("#frame").textContent = `counting frames … ${Math.floor(share * 100)} %`;
}

function showStatus() {
  showFrame();
  find("#play").textContent = player.paused ? "▶" : "❚❚";
  const reaction = setting("reaction");
  find("#speed").textContent = `×${player.speed}${reaction ? `  −${reaction} ms` : ""}`;
  find("#who").textContent = state.subject || "";
  find("#recording").setAttribute("aria-pressed", String(state.recording));
  find("#recording .word").textContent = state.recording ? "recording" : "not recording";
  const saved = find("#saved");
  const problem = outbox.problem || state.project.problem || (state.isSilent ? "tal label does not answer; is it still running?" : "");
  saved.classList.toggle("bad", Boolean(problem));
  const at = state.project.saved ? new Date(state.project.saved) : null;
  const clockTime = at ? [at.getHours(), at.getMinutes(), at.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":") : "";
  saved.textContent = problem ? `${outbox.waiting.length || state.project.problem ? "NOT SAVED: " : ""}${problem}` : outbox.waiting.length ? "saving …" : `saved ${clockTime}`;
  document.title = `${state.video?.name || ""} · tal label`;
  find("#title").textContent = `${state.video?.name || ""} — ${state.project.file}${state.project.person ? `, ${state.project.person}` : ""}`;
}

function showQueue() {
  find("#queued").textContent = String(queue.length);
  fill(find("#queue"), queue.slice(0, 30), (item) => make("li", {}, make("button", { type: "button", onclick: () => openItem(item) },
    make("span", {}, `${item.name}  ${clock(item.from, 1)}`), make("span", { class: "why" }, item.why))));
}

export function showAll() {
  if (!state.project) return;
  showVideos();
  showLabels();
  showChosen();
  showStatus();
  showQueue();
}
follow(showAll);

// ---- what is next

export async function readQueue() {
  queue = (await get("/api/queue")).items;
  changed();
}
let current = -1;
// Goes to an item, plays from 2 s before it; it is done once its range is reviewed.
export async function openItem(item) {
  current = queue.indexOf(item);
  if (item.video !== state.video.id && !(await openVideo(item.video))) return;
  say(`${current + 1} of ${queue.length}: ${item.why}`);
  await goTo(state.frames.at(Math.max(0, item.from - 2) + 1e-6));
  timeline.reveal(item.from);
  player.play();
}
export function nextItem(by) {
  const place = current < 0 ? 0 : current + by;
  if (queue[place]) openItem(queue[place]);
  else say(queue.length ? "no more that way" : "nothing to look at next");
}
export function checkQueue() {
  for (const item of queue) {
    const isDone = item.video === state.video?.id && state.reviewed.some(([start, end]) => start <= item.from + 1e-6 && item.to - 1e-6 <= end);
    if (!isDone || item.isDone) continue;
    item.isDone = true;
    post(`/api/queue/${item.id}`, { done: true }).then(readQueue).then(() => { current = -1; });
  }
}

// ---- the time, typed

export function typeTime() {
  const button = find("#time");
  const input = make("input", { id: "timeinput", "aria-label": "Time or frame: 1:02.5, 62.5 or f1550", value: button.textContent });
  let isLeft = false; // it is left once: being replaced takes the focus from it
  const leave = () => {
    if (isLeft) return;
    isLeft = true;
    input.replaceWith(button);
    showFrame();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave();
    if (event.key !== "Enter") return;
    const frame = frameOf(input.value, state.frames);
    if (frame === null) {
      say("expected 1:02.5, 62.5 or f1550, within the video", "error");
      return;
    }
    leave();
    goTo(frame);
  });
  input.addEventListener("blur", leave);
  button.replaceWith(input);
  input.select();
  input.focus();
}

export function listenToPanels() {
  find("#time").addEventListener("click", () => state.frames && typeTime());
  find("#play").addEventListener("click", player.toggle);
  find("#recording").addEventListener("click", toggleRecording);
  // After a click the keys belong to the video again.
  document.addEventListener("pointerup", () => {
    const focused = document.activeElement;
    if (focused?.tagName === "BUTTON" && !focused.closest("dialog, #menu")) focused.blur();
  });
}
