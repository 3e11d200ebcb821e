// Names where there is little room: shortened only if they must be, and no two to the same text.

// The longest text of a name that fits, with that share of it from its beginning and the rest from its end.
function cut(name, share, fits) {
  for (let length = name.length - 1; length > 0; length -= 1) {
    const head = Math.round(length * share);
    const text = `${name.slice(0, head)}…${name.slice(name.length - length + head)}`;
    if (fits(text)) return text;
  }
  return "…";
}

// Name -> text; fits: whether there is room for a text.
export function shortened(names, fits) {
  const texts = new Map();
  const used = new Set(names.filter(fits));
  for (const name of names) {
    if (texts.has(name)) continue;
    let text = name;
    if (!fits(name)) {
      const tried = [1, 0.5, 0, 0.75, 0.25].map((share) => cut(name, share, fits));
      text = tried.find((one) => !used.has(one)) ?? middleOf(name, used, fits);
    }
    used.add(text);
    texts.set(name, text);
  }
  return texts;
}
// From within the name: the first piece that no other name shows.
function middleOf(name, used, fits) {
  for (let from = 1; from < name.length; from += 1) {
    const text = cut(`…${name.slice(from)}`, 1, fits);
    if (!used.has(text)) return text;
  }
  return cut(name, 1, fits);
}
