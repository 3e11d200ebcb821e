// The page's player.

import { find, say } from "./dom.js";
import * as stills from "./neighbours.js";
import { makePlayer } from "./player.js";
import { changed, state } from "./state.js";

// Once, where labels set while playing cannot be exact.
export const sayInexact = () => say("this browser does not tell exactly which frame is on screen: labels set while playing may be off by one frame", "error");

export const player = makePlayer(find("#video"), {
  stills,
  onInexact: sayInexact,
  say: (text) => say(text, "error"),
  onChange: () => {
    state.frame = player.presented;
    changed();
  },
});
