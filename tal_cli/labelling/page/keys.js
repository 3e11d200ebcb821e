// Which key does what. Plain letters and digits belong to the labels; commands use none of them.

import { say } from "./dom.js";
import * as commands from "./commands.js";
import { timeline } from "./lanes.js";
import { frameOfEvent, letGo, otherKey, press, release } from "./record.js";
import { markAll, paint } from "./review.js";
import { setting, state } from "./state.js";
import { player } from "./video.js";

// name: what help says; keys: as `keyName` has them; run: what it does.
export const COMMANDS = {
  toggle: { name: "play, pause", keys: ["Space"], run: player.toggle },
  back: { name: "one frame back", keys: ["ArrowLeft"], run: () => commands.step(-setting("step")) },
  forward: { name: "one frame forward", keys: ["ArrowRight"], run: () => commands.step(setting("step")) },
  bigBack: { name: "ten frames back", keys: ["Shift+ArrowLeft"], run: () => commands.step(-setting("big")) },
  bigForward: { name: "ten frames forward", keys: ["Shift+ArrowRight"], run: () => commands.step(setting("big")) },
  farBack: { name: "10 seconds back", keys: ["PageUp"], run: () => commands.far(-setting("far")) },
  farForward: { name: "10 seconds forward", keys: ["PageDown"], run: () => commands.far(setting("far")) },
  slower: { name: "slower", keys: ["-", "NumpadSubtract"], run: () => player.changeSpeed(-1) },
  faster: { name: "faster", keys: ["+", "=", "Shift++", "NumpadAdd"], run: () => player.changeSpeed(1) },
  normal: { name: "speed ×1", keys: ["Shift+-", "Shift+NumpadSubtract", "Shift+NumpadAdd", "Shift+_", "_"], run: () => player.setSpeed(1) },
  subject: { name: "active subject, by place", keys: ["Shift+1 … 9"], fixed: true },
  noSubject: { name: "no subject", keys: ["Shift+0"], fixed: true },
  next: { name: "next segment", keys: ["ArrowDown"], run: () => commands.nextSegment(1) },
  previous: { name: "previous segment", keys: ["ArrowUp"], run: () => commands.nextSegment(-1) },
  extend: { name: "one segment more, after those selected", keys: ["Mod+Shift+ArrowDown"], run: () => commands.extend(1) },
  extendBack: { name: "one segment more, before those selected", keys: ["Mod+Shift+ArrowUp"], run: () => commands.extend(-1) },
  all: { name: "select all segments", keys: ["Mod+a"], run: () => commands.selectMany() },
  nextEdge: { name: "next edge of any segment", keys: ["Shift+ArrowDown"], run: () => commands.nextEdge(1) },
  previousEdge: { name: "previous edge of any segment", keys: ["Shift+ArrowUp"], run: () => commands.nextEdge(-1) },
  first: { name: "first frame of the segment, or of the video", keys: ["Home"], run: commands.firstFrame },
  last: { name: "last frame of the segment, or of the video", keys: ["End"], run: commands.lastFrame },
  setStart: { name: "the segment starts with the frame shown", keys: ["Shift+Home"], run: (event) => commands.setEdge("start", frameOfEvent(event)) },
  setEnd: { name: "the segment ends with the frame shown", keys: ["Shift+End"], run: (event) => commands.setEdge("end", frameOfEvent(event)) },
  enter: { name: "accept a suggestion; hold the start, the end, let go", keys: ["Enter"], run: commands.enter },
  backspace: { name: "reject a suggestion; delete", keys: ["Backspace"], run: commands.backspace },
  remove: { name: "delete the selection", keys: ["Delete"], run: commands.remove },
  loop: { name: "play the segment in a loop", keys: ["Shift+Space"], run: commands.loop },
  split: { name: "cut the segment in two at the frame shown", keys: ["Mod+Enter"], run: (event) => commands.split(frameOfEvent(event)) },
  form: { name: "form of the segment", keys: ["F4"] },
  labels: { name: "edit labels and subjects", keys: ["F2"] },
  reviewed: { name: "from here on reviewed, until pressed again", keys: ["F8"], run: (event) => paint("add", frameOfEvent(event)) },
  wiped: { name: "from here on not reviewed, until pressed again", keys: ["Mod+F8"], run: (event) => paint("remove", frameOfEvent(event)) },
  allReviewed: { name: "the whole video is reviewed", keys: ["Shift+F8"], run: () => ask("Is all of this video settled?", markAll) },
  nextItem: { name: "look at next: the next one", keys: ["F9"] },
  previousItem: { name: "look at next: the one before", keys: ["Shift+F9"] },
  undo: { name: "undo", keys: ["Mod+z"], run: () => commands.undo("undo") },
  redo: { name: "redo", keys: ["Mod+Shift+z", "Mod+y"], run: () => commands.undo("redo") },
  nextVideo: { name: "next video", keys: ["Mod+ArrowDown"] },
  previousVideo: { name: "previous video", keys: ["Mod+ArrowUp"] },
  zoomIn: { name: "enlarge the timeline", keys: ["."], run: () => timeline.zoom(0.5) },
  zoomOut: { name: "more of the timeline", keys: [","], run: () => timeline.zoom(2) },
  stop: { name: "stop: form, edge, open bouts, selection", keys: ["Escape"] },
  help: { name: "all keys", keys: ["?", "Shift+?", "F1"] },
};
const BROWSER = /^(Alt\+Arrow|Mod\+\d|F5$|F11$|F12$)/;
let ask = () => {};
export const askWith = (dialog) => { ask = dialog; };

// The name of a key press: modifiers, then the character or the key.
export function keyName(event) {
  const key = event.key === " " ? "Space" : event.code === "NumpadAdd" || event.code === "NumpadSubtract" ? event.code : event.key;
  const plain = key.length === 1 ? key.toLowerCase() : key;
  const mod = event.ctrlKey || event.metaKey ? "Mod+" : "";
  return `${mod}${event.altKey ? "Alt+" : ""}${event.shiftKey ? "Shift+" : ""}${plain}`;
}
export const keysOf = (id) => setting("keys")[id] ? [setting("keys")[id]] : COMMANDS[id].keys;

export function commandOf(name) {
  return Object.keys(COMMANDS).find((id) => !COMMANDS[id].fixed && keysOf(id).includes(name));
}
// Why a key cannot be given to a command, or an empty text.
export function clash(id, name) {
  if (BROWSER.test(name)) return `${name} belongs to the browser`;
  if (/^[\p{L}\p{N}]$/u.test(name)) return "letters and digits belong to the labels";
  if (/^Shift\+\d$/.test(name)) return `${name} chooses a subject`;
  const other = commandOf(name);
  return other && other !== id ? `${name} is the key of “${COMMANDS[other].name}”` : "";
}

const isText = (element) => element.isContentEditable || element.tagName === "TEXTAREA" || element.tagName === "SELECT"
  || (element.tagName === "INPUT" && !["checkbox", "radio", "button", "range"].includes(element.type));
const takesEnter = (element) => ["BUTTON", "A", "SUMMARY", "INPUT"].includes(element.tagName);

function labelFor(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.key.length !== 1) return null;
  const { labels } = state.project;
  const exact = labels.find((label) => label.key === event.key);
  if (exact || event.shiftKey) return exact || null;
  return labels.find((label) => label.key && label.key === event.key.toLowerCase()) || null; // caps lock
}

function down(event) {
  if (!state.project || !state.video || document.querySelector("dialog[open]") || isText(event.target) || event.target.closest("#menu")) return;
  const name = keyName(event);
  if (event.getModifierState("AltGraph") && event.key.length !== 1) return;
  if (!BROWSER.test(name)) {
    const digit = /^Digit(\d)$/.exec(event.code);
    if (digit && event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey && !labelFor(event)) {
      event.preventDefault();
      if (!event.repeat) commands.setSubject(Number(digit[1]));
      return;
    }
    const label = labelFor(event);
    if (label) {
      event.preventDefault();
      if (!event.repeat) press(label, event);
      return;
    }
    otherKey(event);
    const id = commandOf(name);
    if (!id || !COMMANDS[id].run) return;
    if (takesEnter(event.target) && (name === "Enter" || name === "Space") && event.target.matches(":focus-visible")) return;
    event.preventDefault();
    const repeats = ["back", "forward", "bigBack", "bigForward", "farBack", "farForward", "next", "previous", "extend", "extendBack", "zoomIn", "zoomOut", "undo", "redo"];
    if (event.repeat && !repeats.includes(id)) return;
    if (!state.frames && !["toggle", "help", "labels", "nextVideo", "previousVideo"].includes(id)) say("the frames of this video are not known yet");
    else COMMANDS[id].run(event);
  }
}

export function listenToKeys() {
  window.addEventListener("keydown", down, true); // before anything else takes time
  window.addEventListener("keyup", (event) => state.project && release(event), true);
  window.addEventListener("blur", letGo);
}
