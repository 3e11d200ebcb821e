// Which view is open, where in it, dark or light, and the keyboard.

let view = null;

// `#v=NAME&t=SECONDS`; one video alone needs no name.
function placeOf(number, time) {
  const place = new URLSearchParams();
  if (page.videos.length > 1 && number !== null) place.set("v", page.videos[number].name);
  if (time) place.set("t", String(Math.round(time * 100) / 100));
  return `#${place}`;
}

function readPlace() {
  const place = new URLSearchParams(location.hash.slice(1));
  const name = place.get("v");
  const number = page.videos.length === 1 ? 0 : page.videos.findIndex((video) => video.name === name);
  // Seconds, minutes:seconds or hours:minutes:seconds; of a span, as in other players' links, its start.
  const [start] = (place.get("t") || "").split(",");
  const time = start.split(":").reduce((sum, part) => 60 * sum + Number(part.replace(/s$/, "")), 0);
  return { number: number >= 0 && page.videos.length ? number : null, time: Number.isFinite(time) ? Math.max(0, time) : 0 };
}

function writePlace(number, time) {
  history.replaceState(null, "", placeOf(number, time));
}

function show() {
  const { number, time } = readPlace();
  if (view && number === state.video) {
    view.seek(time);
    return;
  }
  const first = !view;
  view?.close();
  state.video = number;
  view = number === null ? openIndex() : openVideo(number, time);
  find("#main").replaceChildren(view.root);
  find("#title").textContent = view.title;
  find("#facts").textContent = view.facts;
  document.title = `${view.title} · tal`;
  find("#back").hidden = number === null || page.videos.length === 1;
  window.scrollTo(0, 0);
  view.start();
  if (!first) find("#main").focus({ preventScroll: true });
}

const THEME = "tal-report-theme";
function remembered() {
  try { return localStorage.getItem(THEME); } catch { return null; }
}
function setTheme(dark, keep) {
  state.dark = dark;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  if (keep) try { localStorage.setItem(THEME, dark ? "dark" : "light"); } catch { /* a browser that keeps nothing */ }
  changed();
}
const preference = window.matchMedia("(prefers-color-scheme: dark)");
preference.addEventListener("change", () => { if (!remembered()) setTheme(preference.matches); });
setTheme(remembered() ? remembered() === "dark" : preference.matches);

const common = {
  t: () => setTheme(!state.dark, true),
  "?": () => find("#help").showModal(),
};
// A control last pressed with a pointer has the focus, but the keys still belong to the video.
let pressed = null;
document.addEventListener("pointerdown", (event) => {
  const control = event.target.closest("button, a, input, label");
  pressed = control?.control || control;
}, true);
document.addEventListener("keydown", (event) => {
  const target = event.target;
  if (event.key === "Tab") pressed = null;
  if (event.ctrlKey || event.metaKey || event.altKey || find("#help").open) return;
  if (target.matches("input[type=search], select")) return;
  if (target.matches("input[type=range]") && /^(Arrow|Home|End|Page)/.test(event.key)) return;
  if ((event.key === " " || event.key === "Enter") && target !== pressed && target.matches("button, a, input")) return;
  const act = view.keys[event.key] || common[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
}, true); // before the video element, which has keys of its own
find("#theme").addEventListener("click", common.t);
find("#help-open").addEventListener("click", common["?"]);
find("#back").addEventListener("click", () => { location.hash = ""; });
find(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is where the link to a moment stands
  find("#main").focus();
});
window.addEventListener("hashchange", show);
show();
