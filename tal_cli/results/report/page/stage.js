// The player, or what stands in for it: either way there is a time, and moving it moves everything.

function makeStage(video, number) {
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
  let wanted = 0; // the time asked for last
  let address = null;

  const isLoaded = () => element.readyState > 0;
  // Where the file was not read, its frames are taken to lie evenly.
  const frames = video.steps ? Frames.ofRuns(video.steps) : Frames.even(video.frames, video.duration);
  const player = makePlayer(element, {
    say: (text) => say(text, true),
    onFrame: tell,
    onChange: tell,
  });

  function tell() {
    watchers.forEach((watcher) => watcher(stage.time));
  }
  const frameAt = (time) => frames.at(time + 1e-6);
  const stage = {
    root, player, frames,
    // The time asked for, as long as its frame is the one shown, else the time of the frame.
    get time() {
      return frameAt(wanted) === player.target ? wanted : frames.edges[player.target];
    },
    seek(time) {
      player.part = null;
      wanted = Math.max(0, Math.min(time, video.duration));
      player.show(frameAt(wanted));
      tell();
    },
    step(by) {
      player.pause();
      stage.seek(frames.edges[frames.clamp(player.target + by)]);
    },
    // Where nothing plays, a thumbnail stands for the moment.
    show(thumbnail) {
      if (!element.videoWidth) element.poster = thumbnail || poster || "";
    },
    toggle() {
      if (isLoaded()) player.toggle();
      else say("There is no video to play", true);
    },
    // A segment, then stop.
    play([, start, end]) {
      if (isLoaded()) player.playPart(frameAt(start), frames.last([start, end]));
    },
    watch: (watcher) => watchers.push(watcher),
    close() {
      element.pause();
      element.removeAttribute("src");
      element.load();
      if (address) URL.revokeObjectURL(address);
    },
  };

  player.know(frames, video.offset);

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
    if (wanted) player.show(frameAt(wanted));
    tell();
  });
  element.addEventListener("error", () => {
    if (!element.getAttribute("src")) return;
    if (video.unplayable && !address) complain(`Browsers do not play ${video.unplayable}. An MP4 file, such as --overlay makes, can take its place.`);
    else if (address) complain("The browser cannot play this video.");
    else complain(`The browser finds no video that it can play at ${video.path}`);
  });
  if (video.embedded) open(embedded(number));
  else if (video.source) element.src = video.source;
  else complain(video.problem ? `${video.path}: ${video.problem}` : "The video is not known.");
  return stage;
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
