// Train, suggest and proxies: what they would use, their command lines, and how far they are.

import { ask as request, get, post } from "./api.js";
import { counted, find, make, say } from "./dom.js";
import { open } from "./dialogs.js";

const FEW = 5;
const HEADINGS = { train: "Training", suggest: "Looking for suggestions", proxy: "Making a copy that the browser plays" };
const BUTTONS = { train: ["Train", "Training"], suggest: ["Suggest", "Suggesting"] };
const DONE = { train: "the model is trained", suggest: "the suggestions are there", proxy: "the copy is there" };
const underWay = new Map(); // id -> job
const followers = new Map(); // id of a job -> function
const isUnderWay = (job) => job.state === "waiting" || job.state === "running";
const ofKind = (kind) => [...underWay.values()].find((job) => job.kind === kind);

export function receiveJob(job) {
  note(job);
  followers.get(job.id)?.(job);
  if (job.state === "failed") say(`${HEADINGS[job.kind]}: ${job.problem}`, "error");
  if (job.state === "done") say(DONE[job.kind]);
}
// What is under way stands on its button.
function note(job) {
  if (isUnderWay(job)) underWay.set(job.id, job);
  else underWay.delete(job.id);
  for (const [kind, [name, verb]] of Object.entries(BUTTONS)) {
    const now = ofKind(kind);
    find(`#${kind}`).textContent = now ? `${verb} ${now.progress ? `${Math.floor(now.progress * 100)} %` : "…"}` : `${name} …`;
  }
}
// After the page was closed and opened again.
export async function readJobs() {
  underWay.clear();
  (await get("/api/jobs")).jobs.forEach(note);
}

export const goingOn = () => [...underWay.values()].map((job) => HEADINGS[job.kind]).join(", ");

async function begin(kind, more = {}) {
  try {
    const job = await post("/api/jobs", { kind, ...more });
    note(job);
    await watch(job);
  } catch (error) {
    say(error.message, "error");
  }
}
async function watch(job) {
  const bar = make("progress", { max: 1, "aria-label": "Progress" });
  const log = make("pre", { tabindex: 0, "aria-label": "What it says" });
  const line = make("p", { role: "status" });
  const show = (now) => {
    if (now.progress === null && isUnderWay(now)) bar.removeAttribute("value");
    else bar.value = now.progress ?? 0;
    line.textContent = now.problem || now.doing || now.state;
    if (!isUnderWay(now)) end(now);
    log.textContent = now.log.join("\n");
    log.scrollTop = log.scrollHeight;
  };
  let isSuggested = false; // the second button suggests, once a model is trained
  function end(now) {
    const [close, other] = line.closest("dialog").querySelectorAll(".buttons button");
    close.textContent = "Close";
    line.className = now.problem ? "problem" : "";
    isSuggested = job.kind === "train" && now.state === "done";
    other.hidden = !isSuggested;
    other.textContent = "Suggest …";
  }
  followers.set(job.id, show);
  const answered = open(HEADINGS[job.kind], [make("p", {}, job.about), bar, line, log], [["Go on in the background", null, true], ["Cancel it", "other"]]);
  show(job);
  const answer = await answered;
  followers.delete(job.id);
  if (answer === "other" && isSuggested) showSuggest();
  else if (answer === "other") await request("DELETE", `/api/jobs/${job.id}`);
}

export async function showTrain() {
  if (ofKind("train")) {
    watch(ofKind("train"));
    return;
  }
  const { train } = (await get("/api/jobs")).would_use;
  const labels = Object.entries(train.labels);
  const uses = `${counted(train.annotations, "annotation")} of ${counted(labels.length, "label")} in ${counted(train.videos, "video")}, ${train.minutes.toFixed(1)} reviewed minutes`;
  const few = labels.filter(([, count]) => count < FEW).map(([name, count]) => `${name} (${count})`);
  const lines = [`It would learn from ${uses}.`];
  if (train.outside) lines.push(`${counted(train.outside, "annotation")} more ${train.outside === 1 ? "lies" : "lie"} where nothing is reviewed and would not count: play there, or mark it with F8.`);
  if (few.length) lines.push(`Labels with fewer than ${FEW} examples are hardly learned: ${few.join(", ")}.`);
  if (!train.annotations) {
    await open("Train a model", ["There is nothing to learn from yet: label something, and have it reviewed by playing it or with F8.", ...lines.slice(1)].map((text) => make("p", {}, text)));
    return;
  }
  const commands = make("pre", { tabindex: 0 }, train.commands.join("\n"));
  const answer = await open("Train a model", [...lines.map((text) => make("p", {}, text)), make("p", {}, `The same by hand, in ${train.folder}:`), commands], [["Train now", true, true], ["Cancel", null]]);
  if (answer) begin("train");
}
export async function showSuggest() {
  if (ofKind("suggest")) {
    watch(ofKind("suggest"));
    return;
  }
  const { suggest } = (await get("/api/jobs")).would_use;
  if (!suggest.model) {
    await open("Suggest", make("p", {}, "There is no model yet. Train one first, or start tal label with --suggestions MODEL."));
    return;
  }
  const knows = suggest.labels.length ? `, which knows ${counted(suggest.labels.length, "label")} (${suggest.labels.join(", ")}),` : "";
  const lines = [`${suggest.model}${knows} would look at ${counted(suggest.videos, "video")}, ${suggest.minutes.toFixed(1)} minutes that are not reviewed yet.`, "Suggestions that are undecided are replaced."];
  if (await open("Suggest", lines.map((text) => make("p", {}, text)), [["Suggest now", true, true], ["Cancel", null]])) begin("suggest");
}
export const makeProxy = (video) => begin("proxy", { video });
