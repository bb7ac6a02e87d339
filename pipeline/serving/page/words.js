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

/** The lines of a face's label. */
export function label(number, face) {
  const lines = [`face ${number}  ${face.confidence.toFixed(2)}`];
  for (const [name, value] of Object.entries(face.attributes ?? {})) {
    const [text, remark] = inWords(value) ?? [];
    if (text) lines.push(`${name}: ${text} ${"interval" in value ? `(${remark})` : remark}`.trimEnd());
  }
  return face.reason ? [...lines, face.reason] : lines;
}

/** "1 face", "2 faces". */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
