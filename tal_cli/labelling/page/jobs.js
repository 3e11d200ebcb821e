// Train, suggest and proxies: what they would use, their command lines, and how far they are.

import { ask as request, get, post } from "./api.js";
import { counted, make, say } from "./dom.js";
import { open } from "./dialogs.js";

const FEW = 5;
const followers = new Map(); // id of a job -> function
export function receiveJob(job) {
  followers.get(job.id)?.(job);
  if (job.state === "failed") say(`${job.kind}: ${job.problem}`, "error");
  if (job.state === "done") say(`${job.kind} is done`);
}

async function watch(heading, kind, more = {}) {
  const bar = make("progress", { max: 1, "aria-label": "Progress" });
  const log = make("pre", { tabindex: 0, "aria-label": "What it says" });
  const line = make("p", { role: "status" });
  let job;
  try {
    job = await post("/api/jobs", { kind, ...more });
  } catch (error) {
    say(error.message, "error");
    return;
  }
  const show = (now) => {
    if (now.progress === null) bar.removeAttribute("value");
    else bar.value = now.progress;
    line.textContent = now.problem || now.doing || now.state;
    if (!["waiting", "running"].includes(now.state)) end(now);
    log.textContent = now.log.join("\n");
    log.scrollTop = log.scrollHeight;
  };
  let isSuggested = false; // the second button suggests, once a model is trained
  function end(now) {
    const [close, other] = line.closest("dialog").querySelectorAll(".buttons button");
    close.textContent = "Close";
    line.className = now.problem ? "problem" : "";
    isSuggested = kind === "train" && now.state === "done";
    other.hidden = !isSuggested;
    other.textContent = "Suggest …";
  }
  followers.set(job.id, show);
  const answered = open(heading, [make("p", {}, job.about), bar, line, log], [["Go on in the background", null, true], ["Cancel it", "other"]]);
  show(job);
  const answer = await answered;
  followers.delete(job.id);
  if (answer === "other" && isSuggested) showSuggest();
  else if (answer === "other") await request("DELETE", `/api/jobs/${job.id}`);
}

export async function showTrain() {
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
  if (answer) watch("Training", "train");
}
export async function showSuggest() {
  const { suggest } = (await get("/api/jobs")).would_use;
  if (!suggest.model) {
    await open("Suggest", make("p", {}, "There is no model yet. Train one first, or start tal label with --suggestions MODEL."));
    return;
  }
  const text = `${suggest.model} would look at ${counted(suggest.videos, "video")}, ${suggest.minutes.toFixed(1)} minutes that nobody has reviewed. Suggestions that are undecided are replaced.`;
  if (await open("Suggest", make("p", {}, text), [["Suggest now", true, true], ["Cancel", null]])) watch("Looking for suggestions", "suggest");
}
export const makeProxy = (video) => watch("Making a copy that the browser plays", "proxy", { video });
