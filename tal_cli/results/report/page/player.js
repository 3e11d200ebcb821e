// The film, or what stands in for it: either way there is a time, and moving it moves everything.

function makePlayer(video, number) {
  const { poster } = page.videos[number];
  const film = make("video", { controls: true, preload: "metadata", playsinline: true, poster, "aria-label": `Video ${video.name}` });
  const message = make("p", { role: "status" });
  const chooser = make("input", { type: "file", accept: "video/*", class: "unseen", id: "chooser", onchange: () => choose() });
  const notice = make("div", { class: "notice", hidden: true }, message,
    make("label", { for: "chooser", class: "button" }, "Choose the file …"), chooser);
  const root = make("div", { class: "player" }, film, notice);
  root.style.setProperty("--ratio", `${video.width} / ${video.height}`);
  const watchers = [];
  let wanted = 0; // the time, as long as the film has none
  let address = null;
  let ticking = 0;

  const hasFilm = () => film.readyState > 0;
  const player = {
    root,
    get time() {
      return hasFilm() ? Math.max(0, film.currentTime - video.offset) : wanted;
    },
    get paused() {
      return film.paused;
    },
    seek(time) {
      wanted = Math.max(0, Math.min(time, video.duration));
      if (hasFilm()) film.currentTime = wanted + video.offset;
      tell();
    },
    // Where no film plays, a picture stands for the moment.
    show(picture) {
      if (!film.videoWidth) film.poster = picture || poster || "";
    },
    toggle() {
      if (!hasFilm()) say("There is no film to play", true);
      else if (film.paused) film.play().catch(() => {});
      else film.pause();
    },
    pause: () => film.pause(),
    watch: (watcher) => watchers.push(watcher),
    close() {
      cancelAnimationFrame(ticking);
      film.pause();
      film.removeAttribute("src");
      film.load();
      if (address) URL.revokeObjectURL(address);
    },
  };

  function tell() {
    watchers.forEach((watcher) => watcher(player.time));
  }
  function tick() {
    tell();
    if (!film.paused && !film.ended) ticking = requestAnimationFrame(tick);
  }
  function open(blob) {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(blob);
    film.src = address;
    notice.hidden = true;
  }
  function choose() {
    if (chooser.files.length) open(chooser.files[0]);
  }
  function complain(text) {
    message.textContent = text;
    notice.hidden = false;
    film.controls = hasFilm();
  }

  film.addEventListener("loadedmetadata", () => {
    notice.hidden = true;
    film.controls = true;
    if (!film.videoWidth) complain("The browser plays the sound of this film and not its pictures.");
    if (wanted) film.currentTime = wanted + video.offset;
    tell();
  });
  film.addEventListener("play", tick);
  for (const event of ["timeupdate", "seeking", "seeked", "pause"]) film.addEventListener(event, tell);
  film.addEventListener("error", () => {
    if (!film.getAttribute("src")) return;
    if (video.unplayable && !address) complain(`Browsers do not play ${video.unplayable}. A film in MP4, such as --overlay makes, can take its place.`);
    else if (address) complain("The browser cannot play this film.");
    else complain(`The browser finds no film that it can play at ${video.path}`);
  });
  if (video.embedded) open(embedded(number));
  else if (video.source) film.src = video.source;
  else complain(video.problem ? `${video.path}: ${video.problem}` : "The film is not known.");
  return player;
}

// The film that the page carries, from base64 in pieces: one string for all would need twice its size.
function embedded(number) {
  const holder = document.getElementById(`film-${number}`);
  const text = holder.textContent;
  const parts = [];
  for (let at = 0; at < text.length; at += 1 << 22) {
    parts.push(Uint8Array.from(atob(text.slice(at, at + (1 << 22))), (letter) => letter.charCodeAt(0)));
  }
  return new Blob(parts, { type: holder.dataset.kind });
}
