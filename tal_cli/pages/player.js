// Plays a video by its frames: which one is on screen, moving to one, speed, parts that are played.
//
// `currentTime` does not tell the frame on screen. The callback of each presented frame does: its `mediaTime` is the
// frame's own time. To show a frame, the player is sent to the middle of the time for which it is shown.

const SPEEDS = [0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 2, 3, 4, 8, 16];
const REMEMBERED = 400; // presented frames
const PROMPT = 25; // ms after a key up to which the frame that the player holds is the one of the key
const TRIES = 3;
const TICK = 0.05; // seconds of the video after which Firefox has told its clock again
const LOOKS = 20; // at that clock
const STOPPING = 0.06; // seconds that a player takes to pause
const PATIENCE = 400; // ms to wait for a presented frame after a seek

export const hasCallback = "requestVideoFrameCallback" in HTMLVideoElement.prototype;

// element: of the video. stills: decoded frames around the one on screen, as neighbours.js has them; or null.
// onFrame: called with a frame and how it came on screen ("play", "step" or "jump"); onChange: when anything else
// changes; say: tells the person what is wrong.
// onInexact: called if the browser turns out not to tell the frame on screen at any moment.
export function makePlayer(element, { stills = null, onFrame = () => {}, onChange = () => {}, onInexact = () => {}, say = () => {} }) {
  let presented = 0; // the frame that the element shows
  let seek = null; // { frame, how, tries, isSeeked, begun, resolve }
  let aim = 0; // the element's time that a seek asked for
  let waiting = null; // the newest one asked for meanwhile
  let log = []; // { moment, frame, count }: frames as they were put on screen
  let begun = []; // when the element's time was 0, as it seemed whenever its clock was looked at
  let timer = 0;
  let newest = 0; // the time of the frame presented last
  let isTold = false; // whether `held` is known to tell the frame
  let doubts = 100; // presented frames left to find that out

  const player = {
    element,
    frames: null, // Frames, once they are known
    offset: 0, // the element's time of frame 0
    speed: 1,
    isWrong: false, // the element insists on another frame than the one asked for
    onFrame,
    part: null, // what is played and then left: { first, last, isLoop }
    get shown() { return stills?.shown ?? presented; }, // the frame on screen
    get presented() { return presented; },
    get paused() { return element.paused; },
    get isSeeking() { return seek !== null; },
    // The frame that keys like ← count from.
    get target() { return seek ? (waiting ?? seek).frame : player.shown; },
    frameOnScreen, open, know, show, play, pause, playPart, setSpeed, changeSpeed,
    toggle: () => (element.paused ? play() : pause()),
  };

  // The frame on screen at a moment (of `performance.now`); `early` ms are taken off while it plays.
  //
  // The callback of a frame comes up to a picture after the frame: a key pressed in between would count for the frame
  // before. So the element is asked which frame it holds, as long as the key is told at once.
  function frameOnScreen(moment, early = 0) {
    const { frames } = player;
    if (!frames) return 0;
    const now = held();
    if (element.paused) return stills?.shown ?? now ?? presented;
    const late = performance.now() - moment;
    const frame = now === null ? clockedAt(late > PROMPT ? late : 0) : late > PROMPT ? playedAt(moment, now) : now;
    return early ? frames.at(Math.max(0, frames.edges[frame] - (early / 1000) * player.speed + 1e-6)) : frame;
  }
  // Where the page was busy meanwhile, what counts is when frames were presented. If there were more between two that it
  // was told of, or since the last one up to the one that the element holds now, the clock says which it was.
  function playedAt(moment, now) {
    const { edges } = player.frames;
    const place = log.findLastIndex((entry) => entry.moment <= moment);
    if (place < 0) return now;
    const { frame, moment: since, count } = log[place], next = log[place + 1];
    if (next?.count === count + 1) return frame;
    const clocked = player.frames.at(edges[frame] + ((moment - since) / 1000) * player.speed + 1e-6);
    return Math.max(frame, Math.min(next ? next.frame - 1 : now, clocked));
  }
  // Where the element does not tell which frame it holds: Firefox, which draws the one of its clock, and tells of it up to
  // a frame earlier or later. What it tells of its clock is up to TICK old, so the newest of several looks counts.
  function clockedAt(late) {
    const told = element.currentTime;
    lookAtClock();
    const time = ((performance.now() - Math.min(...begun)) / 1000) * player.speed;
    return player.frames.at(Math.min(told + TICK, Math.max(told, time)) - (late / 1000) * player.speed - player.offset);
  }
  function lookAtClock() {
    begun.push(performance.now() - (1000 * element.currentTime) / player.speed);
    if (begun.length > LOOKS) begun.shift();
  }
  function keepLooking() {
    if (isTold || element.paused || begun.length === LOOKS) return;
    lookAtClock();
    requestAnimationFrame(keepLooking);
  }
  for (const event of ["play", "seeking", "ratechange"]) element.addEventListener(event, () => {
    begun = [];
    keepLooking();
  });
  // The frame that the element holds, by its own time stamp; null where the browser does not tell.
  function held() {
    const time = isTold ? heldTime() : null;
    return time === null ? null : player.frames.told(time - player.offset);
  }
  function heldTime() {
    if (!("VideoFrame" in window) || element.readyState < 2) return null;
    try {
      const now = new VideoFrame(element);
      const time = now.timestamp / 1e6;
      now.close();
      return time;
    } catch {
      return null;
    }
  }
  // Firefox stamps what it holds with other numbers: believed is what has agreed with a presented frame, or with one after
  // it, as the callback may come late.
  function compare(mediaTime) {
    const { frames, offset } = player;
    const time = isTold || doubts === 0 || !frames || mediaTime < 1e-3 ? null : heldTime();
    if (time === null) return;
    const isLater = time > mediaTime && Math.abs(time - offset - frames.edges[frames.told(time - offset)]) < 5e-5;
    isTold = isLater || Math.abs(time - mediaTime) < 1e-3;
    doubts -= 1;
    if (doubts === 0 && !isTold) onInexact();
  }

  // ---- frames as they come

  // moment: when it was presented; count: of those presented so far.
  function present(now, mediaTime, moment = now, count = 0) {
    if (!player.frames) return;
    newest = mediaTime;
    compare(mediaTime);
    if (!isTold && !element.paused) lookAtClock();
    const frame = player.frames.told(mediaTime - player.offset);
    log.push({ moment, frame, count });
    if (log.length > REMEMBERED) log = log.slice(-REMEMBERED / 2);
    presented = frame;
    if (!seek) arrive(frame, "play");
    // The frame of a seek has come, or another one.
    else if (frame === seek.frame) finish(false);
    else if (seek.isSeeked && now >= seek.begun) miss();
  }
  function arrive(frame, how) {
    stand();
    player.onFrame(frame, how);
    const { part } = player;
    if (part && how === "play" && !element.paused && (frame >= part.last - ahead(part) || frame < part.first)) complete(part);
  }
  function stand() {
    if (isTold && stills && player.frames && element.paused && !seek && !waiting && !player.part) stills.prepare(presented, player.frames, player.offset);
  }
  if (hasCallback) {
    const each = (now, { mediaTime, presentationTime, presentedFrames }) => {
      element.requestVideoFrameCallback(each);
      present(now, mediaTime, presentationTime, presentedFrames);
    };
    element.requestVideoFrameCallback(each);
  } else {
    const each = (now) => {
      const { frames, offset } = player;
      if (!seek && frames) present(now, frames.edges[frames.at(element.currentTime - offset)] + offset);
      if (!element.paused) requestAnimationFrame(each);
    };
    for (const event of ["play", "seeked"]) element.addEventListener(event, () => requestAnimationFrame(each));
  }

  // ---- moving to a frame

  // Show a frame; resolves when it is on screen. Of several asked for at once only the newest is done.
  function show(frame, how = "jump") {
    if (!player.frames || !element.readyState || element.error) {
      presented = player.frames ? player.frames.clamp(frame) : frame;
      onChange();
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const next = { frame: player.frames.clamp(frame), how, resolve };
      stills?.rest();
      if (element.paused && !stills?.showStill(next.frame)) stills?.hideStill();
      if (!seek) begin(next);
      else {
        waiting?.resolve();
        waiting = next;
      }
    });
  }
  function begin(next) {
    seek = { ...next, tries: 0, isSeeked: false, begun: performance.now() };
    onChange();
    go(player.frames.middle(seek.frame));
  }
  function go(time) {
    aim = time + player.offset;
    element.currentTime = aim;
  }
  function miss() {
    if (seek.tries >= TRIES) {
      finish(true);
      return;
    }
    seek.tries += 1;
    seek.isSeeked = false;
    // A little off the middle: some players do nothing if the time is the same.
    const { edges } = player.frames;
    const nudge = (edges[seek.frame + 1] - edges[seek.frame]) * 0.1 * (seek.tries % 2 ? 1 : -1);
    go(player.frames.middle(seek.frame) + nudge);
  }
  function finish(isWrong) {
    const { frame, how, resolve } = seek;
    clearTimeout(timer);
    player.isWrong = isWrong;
    if (isWrong) say(`the player shows frame ${presented} instead of ${frame}`);
    seek = null;
    if (!waiting) stills?.hideStill();
    arrive(presented, how);
    resolve();
    if (waiting) {
      const next = waiting;
      waiting = null;
      begin(next);
    }
  }
  // What was asked for will not come: of another file, or after an error.
  function giveUp() {
    clearTimeout(timer);
    seek?.resolve();
    waiting?.resolve();
    seek = waiting = player.part = null;
  }
  element.addEventListener("error", () => {
    giveUp();
    onChange();
  });
  element.addEventListener("seeked", () => {
    if (element.seeking) return;
    if (!seek) {
      compare(newest); // what is presented during a seek cannot be asked for yet
      stand();
      return;
    }
    seek.isSeeked = true;
    clearTimeout(timer);
    const mine = seek;
    // The frame may have been on screen already: then nothing is presented.
    timer = setTimeout(() => {
      if (seek !== mine) return;
      presented = held() ?? player.frames.at(element.currentTime - player.offset);
      if (presented === seek.frame) finish(false);
      else miss();
    }, hasCallback ? PATIENCE : 0);
  });
  // Somebody moves on with the element's own controls.
  element.addEventListener("seeking", () => { if (Math.abs(element.currentTime - aim) > 0.001) player.part = null; });

  // ---- playing

  function play() {
    if (!element.readyState) {
      say("there is no video to play yet");
      return;
    }
    stills?.rest();
    stills?.hideStill();
    element.playbackRate = player.speed;
    element.play().catch(() => {});
  }
  function pause() {
    player.part = null;
    element.pause();
  }
  function setSpeed(speed) {
    player.speed = speed;
    try {
      element.playbackRate = speed;
    } catch {
      say(`this browser does not play at ×${speed}`);
    }
    onChange();
  }
  function changeSpeed(by) {
    const place = SPEEDS.findIndex((speed) => speed >= player.speed - 1e-9);
    setSpeed(SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, place + by))]);
  }

  // Play from one frame to another, once or over and over.
  async function playPart(first, last, isLoop = false) {
    element.pause();
    const part = { first, last, isLoop };
    player.part = part;
    await show(first);
    if (player.part === part) play();
  }
  // Frames before the last one at which a part is paused: more may come on screen until the player has stopped.
  function ahead({ first, last }) {
    const { edges } = player.frames;
    const frame = (edges[last + 1] - edges[first]) / (last + 1 - first);
    return Math.min(last - first, Math.ceil((STOPPING / frame) * player.speed));
  }
  // The rest is shown frame by frame, so that no frame after the last one comes on screen.
  async function complete(part) {
    element.pause();
    const isHere = () => player.part === part;
    for (let frame = player.shown + 1; isHere() && part.first < frame && frame <= part.last; frame += 1) await show(frame, "step");
    if (isHere() && part.isLoop) await show(part.first);
    if (isHere() && part.isLoop) play();
    else if (isHere()) player.part = null;
  }

  // ---- the file

  // The frames are known now: what is on screen already counts.
  function know(frames, offset) {
    Object.assign(player, { frames, offset });
    if (frames && element.readyState > 1) presented = frames.told(element.currentTime - offset);
    onChange();
    stand();
  }
  // Another file. Waits for nothing; `loadedmetadata` and `error` tell.
  function open(address, { frames = player.frames, offset = 0 } = {}) {
    giveUp();
    log = [];
    presented = 0;
    player.isWrong = false;
    Object.assign(player, { frames, offset });
    stills?.openStore(address.startsWith("blob:") ? "" : address); // one player alone can have what grows
    element.src = address;
    element.load();
    onChange();
  }
  for (const event of ["play", "pause", "ended", "loadeddata"]) element.addEventListener(event, onChange);
  element.addEventListener("pause", stand);
  return player;
}
