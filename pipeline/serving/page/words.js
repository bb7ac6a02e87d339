/** Attributes in words, as facepipe writes them onto pictures. */

/** `[text, remark]` of a value, `["female", "0.71"]` say; null of points, which are drawn. */
export function inWords(value) {
  if ("probability" in value) return value.value === null ? ["?", ""] : [value.value, value.probability.toFixed(2)];
  if ("interval" in value) {
    const [low, high] = value.interval.map((end) => end.toFixed(0));
    return [`${value.value.toFixed(0)} ${value.unit}`, `${low}–${high}`];
  }
  return null;
}

/** The attributes of a face that its label names: those of `fields`, or all where that is null. */
const named = (face, fields) =>
  Object.entries(face.attributes ?? {}).filter(([name]) => fields === null || fields.includes(name));

/** The lines of a face's label; with its number and confidence where `fields` is null. */
export function label(number, face, fields = null) {
  const lines = fields === null ? [`face ${number}  ${face.confidence.toFixed(2)}`] : [];
  for (const [name, value] of named(face, fields)) {
    const [text, remark] = inWords(value) ?? [];
    if (text) lines.push(`${name}: ${text} ${"interval" in value ? `(${remark})` : remark}`.trimEnd());
  }
  return face.reason && fields === null ? [...lines, face.reason] : lines;
}

/** `F 31 · smile`: initials and numbers, then what a face has; "" where there is nothing to say. */
export function shortLabel(face, fields = null) {
  const [initials, numbers, marks] = [[], [], []];
  for (const [name, value] of named(face, fields)) {
    if ("interval" in value) numbers.push(value.value.toFixed(0));
    else if ("probability" in value && value.value !== null) {
      const known = String(value.value).toLowerCase();
      const classes = Object.keys(value.probabilities);
      const distinct = classes.length === 2 && new Set(classes.map((each) => each[0].toLowerCase())).size === 2;
      if (["yes", "true", "1"].includes(known)) marks.push(name);
      else if (!["no", "false", "0", "none"].includes(known)) {
        if (distinct) initials.push(known[0].toUpperCase());
        else marks.push(known);
      }
    }
  }
  return [[...initials, ...numbers].join(" "), ...marks].filter((part) => part).join(" · ");
}

/** "1 face", "2 faces". */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
