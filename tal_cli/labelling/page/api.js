// Talking to the server: requests, the queue of changes that are not acknowledged yet, and events.

import { newId, say } from "./dom.js";

export const client = newId();

export class ServerError extends Error {
  constructor(status, content) {
    super(content.error || `the server answers ${status}`);
    this.status = status;
    this.content = content;
  }
}

export async function ask(method, path, body) {
  const options = { method, headers: { "Content-Type": "application/json" } };
  if (body !== undefined) options.body = JSON.stringify(body);
  const answer = await fetch(path, options);
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ServerError(answer.status, content);
  return content;
}
export const get = (path) => ask("GET", path);
export const post = (path, body) => ask("POST", path, body);

// The token in the address is changed for a cookie, once.
export async function begin() {
  const token = location.hash.slice(1);
  if (!token) return;
  history.replaceState(null, "", location.pathname);
  await post("/api/session", { token });
}

const RETRY = 2000;

// Changes go one after the other, so that their order is kept. Those that are not on the server's disk yet are kept in
// the browser as well.
class Outbox {
  constructor() {
    this.waiting = [];
    this.listeners = [];
    this.problem = "";
    this.sending = null;
    this.revision = 0;
    this.key = "";
  }

  // Begin with what an earlier page could not send.
  open(project, answered) {
    this.key = `tal label ${project.file} ${project.videos.map((video) => video.id).join("").slice(0, 60)}`;
    this.revision = project.revision;
    const left = JSON.parse(localStorage.getItem(this.key) || "[]");
    if (left.length) say(`${left.length} changes of an earlier page are sent now`);
    this.waiting.push(...left.map((item) => ({ ...item, answered })));
    this.run();
  }

  // answered: called with the answer, or an error that the server gave.
  add(video, ops, { quiet = false, answered }) {
    const item = { video, ops, quiet, request: newId(), client, revision: this.revision };
    this.waiting.push({ ...item, answered });
    this.keep();
    this.run();
  }

  // Do something after the changes so far and before later ones; resolves once it is done.
  inOrder(act) {
    return new Promise((resolve) => {
      this.waiting.push({ ops: [], act: () => act().finally(resolve) });
      this.run();
    });
  }

  keep() {
    const kept = this.waiting.filter((item) => !item.act).map(({ answered, ...item }) => item);
    try {
      if (kept.length) localStorage.setItem(this.key, JSON.stringify(kept));
      else localStorage.removeItem(this.key);
      this.isKept = true;
    } catch {
      this.isKept = false; // full: the page itself still has them
    }
  }

  // Whether something of a video's thing waits to be sent.
  concerns(id) {
    return this.waiting.some((item) => item.ops.some((op) => op.id === id));
  }

  run() {
    if (!this.sending) this.sending = this.send().finally(() => { this.sending = null; });
    return this.sending;
  }

  async send() {
    while (this.waiting.length) {
      const { answered, act, ...item } = this.waiting[0];
      if (act) {
        await act();
        this.waiting.shift();
        continue;
      }
      try {
        const answer = await post("/api/changes", item);
        this.done(answer);
        answered(answer, null, item);
      } catch (error) {
        const isRejected = error instanceof ServerError && [400, 404, 409, 413].includes(error.status);
        if (!isRejected) {
          this.tell(error instanceof ServerError ? error.message : "the server does not answer; changes are kept here");
          await new Promise((resolve) => setTimeout(resolve, RETRY));
          continue;
        }
        this.done({});
        answered(null, error, item);
      }
    }
  }

  done(answer) {
    this.waiting.shift();
    this.keep();
    if (answer.revision) this.revision = Math.max(this.revision, answer.revision);
    this.tell("");
  }

  tell(problem) {
    this.problem = problem;
    this.listeners.forEach((listener) => listener());
  }
}
export const outbox = new Outbox();
outbox.client = client;

// Events of the server; where the connection ends, it is made again, and everything is read again.
export function listen(receive) {
  let source = null;
  let isFirst = true;
  function open() {
    source = new EventSource("/api/events");
    source.onmessage = (message) => {
      const event = JSON.parse(message.data);
      if (event.event === "hello" && !isFirst) event.event = "reload";
      isFirst = false;
      receive(event);
    };
    source.onerror = () => receive({ event: "silent" });
  }
  // Browsers allow few connections to one server: a hidden page gives its own up.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) source.close();
    else open();
  });
  open();
}
