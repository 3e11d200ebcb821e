// The video element, or what stands in for it: either way there is a time, and moving it moves everything.

function makePlayer(video, number) {
  const { poster } = page.videos[number];
  const element = make("video", { controls: true, preload: "metadata", playsinline: true, poster, "aria-label": `Video ${video.name}` });
  // The poster shows the best segment; a loaded video shows the moment that the clock tells.
  element.addEventListener("loadeddata", () => element.removeAttribute("poster"));
  const message = make("p", { role: "status" });
  const chooser = make("input", { type: "file", accept: "video/*", class: "unseen", id: "chooser", onchange: () => choose() });
  const notice = make("div", { class: "notice", hidden: true }, message,
    make("label", { for: "chooser", class: "button" }, "Choose the file …"), chooser);
  const root = make("div", { class: "player" }, element, notice);
  root.style.setProperty("--ratio", `${video.width} / ${video.height}`);
  const watchers = [];
  let wanted = 0; // the time, as long as the element has none
  let address = null;
  let ticking = 0;
  let last = null; // the time at which to stop

  const isLoaded = () => element.readyState > 0;
  const player = {
    root,
    get time() {
      return isLoaded() ? Math.max(0, element.currentTime - video.offset) : wanted;
    },
    get paused() {
      return element.paused;
    },
    seek(time) {
      last = null;
      wanted = Math.max(0, Math.min(time, video.duration));
      if (isLoaded()) element.currentTime = wanted + video.offset;
      tell();
    },
    // Where nothing plays, a thumbnail stands for the moment.
    show(thumbnail) {
      if (!element.videoWidth) element.poster = thumbnail || poster || "";
    },
    toggle() {
      if (!isLoaded()) say("There is no video to play", true);
      else if (element.paused) element.play().catch(() => {});
      else element.pause();
    },
    // From here to that time.
    play(end) {
      if (!isLoaded()) return;
      last = end;
      element.play().catch(() => {});
    },
    pause: () => element.pause(),
    watch: (watcher) => watchers.push(watcher),
    close() {
      cancelAnimationFrame(ticking);
      element.pause();
      element.removeAttribute("src");
      element.load();
      if (address) URL.revokeObjectURL(address);
    },
  };

  function tell() {
    const late = player.time - last;
    if (last !== null && late >= 0) {
      const end = last;
      last = null;
      if (late < 1) { // else somebody has moved on in the video
        element.pause();
        player.seek(end);
        return;
      }
    }
    watchers.forEach((watcher) => watcher(player.time));
  }
  function tick() {
    tell();
    if (!element.paused && !element.ended) ticking = requestAnimationFrame(tick);
  }
  function open(blob) {
    if (address) URL.revokeObjectURL(address);
    address = URL.createObjectURL(blob);
    element.src = address;
    notice.hidden = true;
  }
  function choose() {
    if (chooser.files.length) open(chooser.files[0]);
  }
  function complain(text) {
    message.textContent = text;
    notice.hidden = false;
    element.controls = isLoaded();
  }

  element.addEventListener("loadedmetadata", () => {
    notice.hidden = true;
    element.controls = true;
    if (!element.videoWidth) complain("The browser plays the sound of this video but not its images.");
    if (wanted) element.currentTime = wanted + video.offset;
    tell();
  });
  element.addEventListener("play", tick);
  for (const event of ["timeupdate", "seeking", "seeked", "pause"]) element.addEventListener(event, tell);
  element.addEventListener("error", () => {
    if (!element.getAttribute("src")) return;
    if (video.unplayable && !address) complain(`Browsers do not play ${video.unplayable}. An MP4 file, such as --overlay makes, can take its place.`);
    else if (address) complain("The browser cannot play this video.");
    else complain(`The browser finds no video that it can play at ${video.path}`);
  });
  if (video.embedded) open(embedded(number));
  else if (video.source) element.src = video.source;
  else complain(video.problem ? `${video.path}: ${video.problem}` : "The video is not known.");
  return player;
}

// The video embedded in the page, from base64 in pieces: one string for all would need twice its size.
function embedded(number) {
  const holder = document.getElementById(`video-${number}`);
  const text = holder.textContent;
  const parts = [];
  for (let at = 0; at < text.length; at += 1 << 22) {
    parts.push(Uint8Array.from(atob(text.slice(at, at + (1 << 22))), (letter) => letter.charCodeAt(0)));
  }
  return new Blob(parts, { type: holder.dataset.kind });
}
