// The page's player.

import { find, say } from "./dom.js";
import * as stills from "./neighbours.js";
import { makePlayer } from "./player.js";
import { changed, state } from "./state.js";

export const player = makePlayer(find("#video"), {
  stills,
  say: (text) => say(text, "error"),
  onChange: () => {
    state.frame = player.presented;
    changed();
  },
});
