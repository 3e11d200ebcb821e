// Bars on a canvas: those of one look are filled together, since most of the time goes into changing a colour.

const ROUND = 2.5; // pixels
const WIDE = 8; // pixels from which on corners are round
const patterns = new Map();

// A colour with stripes of another one.
export function hatched(pen, colour, stripe) {
  const key = `${colour} ${stripe}`;
  if (!patterns.has(key)) {
    const tile = new OffscreenCanvas(8, 8);
    const ink = tile.getContext("2d");
    ink.fillStyle = colour;
    ink.fillRect(0, 0, 8, 8);
    ink.strokeStyle = stripe;
    ink.lineWidth = 2;
    for (const shift of [-8, 0, 8]) {
      ink.beginPath();
      ink.moveTo(shift, 8);
      ink.lineTo(shift + 8, 0);
      ink.stroke();
    }
    patterns.set(key, pen.createPattern(tile, "repeat"));
  }
  return patterns.get(key);
}

// bar: { left, top, wide, high, isPoint }; a point is a diamond around its left edge.
function trace(pen, { left, top, wide, high, isPoint }) {
  if (isPoint) {
    pen.moveTo(left, top);
    pen.lineTo(left + 6, top + high / 2);
    pen.lineTo(left, top + high);
    pen.lineTo(left - 6, top + high / 2);
    pen.closePath();
  } else if (wide < WIDE) pen.rect(left, top, wide, high);
  else pen.roundRect(left, top, wide, high, ROUND);
}

// bars: as above, with `fill` and `strength`, 0 to 1. Looks are filled in the order of their first bar.
export function fillBars(pen, bars) {
  const looks = new Map(); // fill -> strength -> bars
  for (const bar of bars) {
    if (!looks.has(bar.fill)) looks.set(bar.fill, new Map());
    const strengths = looks.get(bar.fill);
    if (strengths.has(bar.strength)) strengths.get(bar.strength).push(bar);
    else strengths.set(bar.strength, [bar]);
  }
  for (const [fill, strengths] of looks) {
    pen.fillStyle = fill;
    for (const [strength, alike] of strengths) {
      pen.globalAlpha = strength;
      pen.beginPath();
      for (const bar of alike) {
        if (!bar.isPoint && bar.wide < WIDE) pen.fillRect(bar.left, bar.top, bar.wide, bar.high); // quicker than a path
        else trace(pen, bar);
      }
      pen.fill();
    }
  }
  pen.globalAlpha = 1;
}
export function outlineBar(pen, bar, colour, thick = 1.5, dash = []) {
  const within = thick / 2;
  pen.beginPath();
  trace(pen, bar.isPoint ? bar : { ...bar, left: bar.left + within, top: bar.top + within, wide: Math.max(1, bar.wide - thick), high: bar.high - thick });
  pen.strokeStyle = colour;
  pen.lineWidth = thick;
  pen.setLineDash(dash);
  pen.stroke();
  pen.setLineDash([]);
}
