// Begins: session, project, the first video; and what belongs to no other part.

import { begin, get, listen, outbox, post } from "./api.js";
import { find, make, say } from "./dom.js";
import { Frames } from "./frames.js";
import { ask, open, openBouts, showConflict, showExport, showForeign, showForm, showKeys } from "./dialogs.js";
import { goingOn, makeProxy, readJobs, receiveJob, showSuggest, showTrain } from "./jobs.js";
import { askWith, COMMANDS, listenToKeys } from "./keys.js";
import { setWave, timeline, viewWith } from "./lanes.js";
import { showLabels } from "./labels.js";
import * as commands from "./commands.js";
import { checkQueue, listenToPanels, nextItem, readQueue, showCounting, showFrame, videosWith } from "./panels.js";
import { hasCallback } from "./player.js";
import { playGrowing, stopGrowing } from "./growing.js";
import { listenToHover } from "./hover.js";
import { copied } from "./neighbours.js";
import { formWith, hideMenu, listenToPointer } from "./pointer.js";
import { dropAll, endAll, restoreOpen } from "./record.js";
import { flush, forget, seen, stopPainting } from "./review.js";
import { listenToTheme, showSettings } from "./settings.js";
import { answered, changed, follow, onConflict, readProject, receive, reload, select, state } from "./state.js";
import { player, sayInexact } from "./video.js";

const FIRST_VIEW = 60; // seconds
const WAVE_REST = 250; // ms
const BLACK = 4; // of 255
const SAMPLED = 101; // one pixel of so many tells how bright a frame is
const video = player.element;
const { pause } = player;
const { setView } = timeline;

// ---- videos

async function openVideo(id) {
  if (state.video?.id === id) return true;
  const wanted = state.project.videos.find((one) => one.id === id);
  if (!wanted || !(await leaveVideo())) return false;
  state.video = wanted;
  state.frames = null;
  state.annotations = new Map();
  state.suggestions = new Map();
  state.reviewed = [];
  state.depth = 0;
  select([]);
  player.setSpeed(1);
  setWave(null);
  notice("");
  restoreOpen();
  stopGrowing();
  player.open(`/api/videos/${id}/media`, { frames: null, offset: wanted.offset || 0 });
  sessionStorage.setItem("tal label video", id);
  setView(0, Math.min(FIRST_VIEW, wanted.duration || FIRST_VIEW));
  await Promise.all([reload(), readFrames(id)]).catch((error) => say(error.message, "error"));
  if (state.video.id !== id) return false;
  setView(0, Math.min(FIRST_VIEW, state.frames?.duration || FIRST_VIEW));
  seen(0, "jump");
  offerProxy();
  readWaveSoon();
  return state.frames !== null;
}

async function readFrames(id) {
  const answer = await fetch(`/api/videos/${id}/frames`);
  if (!answer.ok) throw new Error((await answer.json()).error);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const frames = Frames.unpack(bytes, answer.headers.get("X-Time-Base"), Number(answer.headers.get("X-Frames")));
  await readProject(); // only now the video's facts are known
  if (state.video?.id !== id) return;
  state.frames = frames;
  player.know(frames, state.video.offset ?? 0);
  checkBlack().catch(() => {});
  changed();
}

// Of what is in view and as much around it; once per rest of the view.
let wave = 0;
function readWaveSoon() {
  clearTimeout(wave);
  if (state.video?.sound && state.frames) wave = setTimeout(readWave, WAVE_REST);
}
async function readWave() {
  const { id } = state.video, { frames } = state, { view } = timeline;
  const around = view.to - view.from;
  const from = Math.max(0, view.from - around), to = Math.min(frames.duration, view.to + around);
  try {
    const { min, max } = await get(`/api/videos/${id}/waveform?width=3000&from=${from}&to=${to}`);
    if (state.frames === frames) setWave({ from, to, min, max });
  } catch { /* sound that cannot be read is not shown */ }
}

// Before a video is left: bouts that have begun, edges and ranges that are not sent.
async function leaveVideo() {
  if (state.video && state.open.size) {
    pause();
    const answer = await openBouts();
    if (!answer) return false;
    if (answer === "here") endAll(player.shown);
    else if (answer === "end") endAll(state.frames.count - 1);
    else dropAll();
  }
  if (state.video) {
    commands.letEdgeGo();
    forget();
    pause();
  }
  return true;
}

function nextVideo(by) {
  const { videos } = state.project;
  const place = videos.findIndex((one) => one.id === state.video.id) + by;
  if (videos[place]) openVideo(videos[place].id);
  else say(by > 0 ? "this is the last video" : "this is the first video");
}

// ---- what the browser cannot play

// isAside: at the edge, where it hides little of the video.
function notice(text, buttons = [], isAside = false) {
  const box = find("#notice");
  box.classList.toggle("aside", isAside);
  box.hidden = !text;
  find("p", box).textContent = text;
  find(".buttons", box).replaceChildren(...buttons.map(([name, act]) => make("button", { type: "button", onclick: act }, name)));
}
const makeCopy = ["Make a copy", () => makeProxy(state.video.id)];
function offer(text) {
  notice(text, [makeCopy, ["Leave it", () => notice("")]]);
}
// Not asked for again in this session, once it is left.
const LEFT = "tal label slow steps";
function offerQuickSteps() {
  const leave = () => {
    sessionStorage.setItem(LEFT, "left");
    notice("");
  };
  if (!sessionStorage.getItem(LEFT)) notice("Few key frames: steps back are slow. A copy with more makes them quick; labels belong to the original.", [makeCopy, ["Leave it", leave]], true);
}
// A copy is being made: what there is of it already plays.
async function playMeanwhile() {
  const { id } = state.video;
  if (!state.frames || !(await playGrowing(id, state.frames.duration)) || state.video?.id !== id) return;
  player.know(state.frames, 0);
  notice("");
  say("the copy plays as far as it is made, without sound; labels count already");
}
function offerProxy() {
  const facts = state.video;
  if (facts.proxy === "ready") return;
  if (facts.proxy === "making" && video.error) {
    playMeanwhile();
    return;
  }
  const isForeign = facts.known && !facts.playable && !video.canPlayType(facts.kind);
  if (video.error || isForeign) offer(`The browser does not play this video (${video.error?.message || "unknown format"}). Labels on a copy belong to the original: it has the same frames at the same times.`);
  else if (facts.slow_steps) offerQuickSteps();
}
video.addEventListener("error", () => state.video && offerProxy());
video.addEventListener("loadeddata", () => {
  if (!video.videoWidth) offer("The browser plays the sound of this video but not its pictures.");
  else checkBlack().catch(() => {});
});
// A first frame that is black where the true one is not: the browser does not really play it.
async function checkBlack() {
  const { id, grey } = state.video ?? {};
  if (!grey || grey < 24 || !("VideoFrame" in window) || video.readyState < 2 || video.currentTime > 0) return;
  const pixels = await copied(new VideoFrame(video));
  let sum = 0, count = 0;
  for (let place = 1; place < pixels.length; place += 4 * SAMPLED) {
    sum += pixels[place]; // green, which most of the brightness is
    count += 1;
  }
  if (sum / count < BLACK && state.video?.id === id) offer("The browser shows black where this video is not.");
}

// ---- Esc: form, edge, open bouts (asks), selection, in this order

async function stop() {
  if (!find("#menu").hidden) hideMenu();
  else if (player.part) pause();
  else if (commands.letEdgeGo()) say("let go");
  else if (stopPainting()) say("F8 is let go");
  else if (state.open.size) {
    const answer = await openBouts();
    if (answer === "here") endAll(player.shown);
    else if (answer === "end") endAll(state.frames.count - 1);
    else if (answer === "drop") dropAll();
  } else select([]);
}

async function finish() {
  const jobs = goingOn();
  if (jobs && !(await open(`${jobs}: this is still under way, and Finish ends it`, [], [["Finish all the same", true], ["Stay", null, true]]))) return;
  if (!(await leaveVideo())) return;
  await outbox.run();
  try {
    const { file } = await post("/api/finish", {});
    outbox.isFinished = true;
    state.project = state.video = null; // nothing is drawn any more
    document.body.replaceChildren(make("main", { class: "end" }, make("h1", {}, "Finished"), make("p", {}, `All is in ${file}. This page can be closed.`)));
  } catch (error) {
    say(error.message, "error");
  }
}

function settle(keep) {
  post("/api/settle", { keep }).then(() => Promise.all([readProject(), reload()])).catch((error) => say(error.message, "error"));
}

// ---- the divider between video and timeline

function listenToDivider() {
  const divider = find("#divider");
  const set = (height) => document.documentElement.style.setProperty("--bottom", `${Math.max(110, Math.min(innerHeight - 260, height))}px`);
  set(Number(localStorage.getItem("tal label bottom")) || Math.round(innerHeight * 0.34));
  const keep = (height) => {
    set(height);
    localStorage.setItem("tal label bottom", String(height));
    timeline.schedule();
  };
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    divider.onpointermove = (moved) => keep(innerHeight - moved.clientY);
  });
  divider.addEventListener("pointerup", () => { divider.onpointermove = null; });
  divider.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.stopPropagation();
    event.preventDefault();
    keep(find("#timeline").offsetHeight + (event.key === "ArrowUp" ? 20 : -20));
  });
}

async function start() {
  listenToTheme();
  listenToDivider();
  await begin();
  const project = await readProject();
  outbox.open(project, answered);
  outbox.listeners.push(changed);
  player.onFrame = (frame, how) => {
    state.frame = frame;
    seen(frame, how);
    showFrame();
    timeline.drawPlayhead();
  };
  Object.assign(COMMANDS.form, { run: showForm });
  Object.assign(COMMANDS.labels, { run: showLabels });
  Object.assign(COMMANDS.help, { run: showKeys });
  Object.assign(COMMANDS.stop, { run: stop });
  Object.assign(COMMANDS.nextItem, { run: () => nextItem(1) });
  Object.assign(COMMANDS.previousItem, { run: () => nextItem(-1) });
  Object.assign(COMMANDS.nextVideo, { run: () => nextVideo(1) });
  Object.assign(COMMANDS.previousVideo, { run: () => nextVideo(-1) });
  askWith(ask);
  formWith(showForm);
  videosWith(openVideo);
  onConflict(showConflict);
  listenToKeys();
  listenToPointer();
  listenToHover();
  viewWith(readWaveSoon);
  listenToPanels();
  find("#train").addEventListener("click", showTrain);
  find("#suggest").addEventListener("click", showSuggest);
  find("#export").addEventListener("click", showExport);
  find("#settings").addEventListener("click", () => showSettings(open));
  find("#help").addEventListener("click", showKeys);
  find("#edit").addEventListener("click", showLabels);
  find("#finish").addEventListener("click", finish);
  listen(hear);
  const last = sessionStorage.getItem("tal label video");
  await openVideo(project.videos.find((one) => one.id === last)?.id || project.videos[0].id);
  if (project.foreign) showForeign(project.foreign, settle);
  if (!hasCallback) sayInexact();
  follow(checkQueue);
  readQueue();
  readJobs();
  document.documentElement.dataset.ready = "true";
}

let rereading = 0;
function readQueueSoon() {
  clearTimeout(rereading);
  rereading = setTimeout(() => readQueue().catch(() => {}), 1000);
}

async function hear(event) {
  if (!state.project) return;
  receive(event);
  if (event.event === "reload") readJobs().catch(() => {});
  if (event.event === "job") receiveJob(event.job);
  else if (event.event === "foreign") showForeign(event.difference, settle);
  else if (event.event === "indexing" && event.video === state.video?.id) showCounting(event.share);
  else if (event.event === "suggestions" || event.event === "saved") readQueueSoon();
  else if (event.event === "making" && event.video === state.video?.id) {
    state.video.proxy = "making";
    offerProxy();
  } else if (event.event === "proxy" && event.video === state.video?.id) {
    notice("");
    stopGrowing();
    const frame = state.frame;
    await readProject();
    player.open(`/api/videos/${event.video}/media?proxy=${Date.now()}`, { offset: state.video.offset ?? 0 });
    video.addEventListener("loadeddata", () => commands.goTo(frame), { once: true });
  } else if (event.event === "indexed" && event.video !== state.video?.id) readProject();
}

window.addEventListener("focus", () => state.project && !outbox.isFinished && readProject().then((project) => {
  if (project.foreign && !find("dialog[open]")) showForeign(project.foreign, settle);
}).catch(() => {}));
window.addEventListener("beforeunload", (event) => {
  flush();
  commands.commitEdge();
  if (outbox.waiting.length && !outbox.isKept) event.preventDefault();
});

// The address of a new start, opened where this page is: only its token differs.
window.addEventListener("hashchange", () => {
  if (location.hash.length > 1) begin().then(() => location.reload()).catch((error) => say(error.message, "error"));
});

start().catch((error) => {
  notice(error.status === 403 ? "Open the address that tal label printed: this one lacks its token." : error.message);
});
