/** A picture with what was found in it drawn on a canvas. */

import { label, shortLabel } from "./words.js";

const FACE = "#40dc60";
const HEAD = "#40a8ff";
const POINT = "#ffd040";
const CHOSEN = "#ffffff";
const PAPER = "#181818";
const SMALL = 640;
const LIGHT = 0.45; // of a head that belongs to a face
const DOT = 0.1; // largest point, of its face's shorter side; where it would have to be larger there is none
export const LAYERS = ["boxes", "labels", "points", "heads"];
const FEW = 6; // faces up to which a large one has its whole label
const FAR = 0.4; // of the picture's longer side: how far a label may stand from its face

/** How often a small picture is enlarged when it is saved, for text has no room in it. */
export const enlarged = (width, height) => Math.min(8, Math.max(1, Math.ceil(SMALL / Math.max(width, height))));

/** Draw a picture onto a canvas of `width` x `height` pixels, without more. */
export function plain(canvas, bitmap, width, height) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return context;
}

/**
 * Draw a picture with heads, faces, points and labels.
 *
 * @param {HTMLCanvasElement} canvas made as large as asked for.
 * @param {ImageBitmap} bitmap the upright picture, of any size.
 * @param {object} result of the picture; its boxes are in pixels of `result.width` x `result.height`.
 * @param {number} width of the canvas in pixels.
 * @param {number} letter height of the labels' letters in pixels.
 * @param {object} [options] `{chosen, layers, fields}`: number of the face that is marked, or null; a set of what is
 *   drawn, of LAYERS; names of the attributes that labels name, null for all of them and the face's number.
 */
export function annotated(canvas, bitmap, result, width, letter, options = {}) {
  const { chosen = null, layers = new Set(LAYERS), fields = null } = options;
  const zoom = width / result.width;
  const context = plain(canvas, bitmap, width, Math.max(1, Math.round(result.height * zoom)));
  const stroke = Math.max(1, Math.round(letter / 5));
  const owned = new Set(result.faces.map((face) => face.head));
  result.heads.forEach((head, number) => {
    if (!layers.has("heads")) return;
    context.globalAlpha = owned.has(number) ? LIGHT : 1;
    outline(context, scaled(head.box, zoom), [HEAD, owned.has(number) ? Math.max(1, stroke / 2) : stroke]);
    context.globalAlpha = 1;
  });
  result.faces.forEach((face, number) => {
    const lines = number === chosen ? [[FACE, 3 * stroke], [CHOSEN, stroke]] : [[FACE, stroke]];
    if (layers.has("boxes")) outline(context, scaled(face.box, zoom), ...lines);
    if (!layers.has("points")) return;
    for (const value of Object.values(face.attributes ?? {})) {
      const side = Math.min(face.box.x2 - face.box.x1, face.box.y2 - face.box.y1) * zoom;
      const radius = Math.max(1, (side * DOT) / 6);
      if (3 * radius > DOT * side) continue;
      for (const [x, y] of Object.values(value.points ?? {})) dot(context, x * zoom, y * zoom, radius);
    }
  });
  if (!layers.has("labels")) return;
  const taken = result.faces.map((face) => scaled(face.box, zoom));
  const area = (number) => taken[number].width * taken[number].height;
  const inOrder = [...result.faces.keys()].sort(
    (one, other) => (other === chosen) - (one === chosen) || area(other) - area(one),
  );
  for (const number of inOrder) {
    const face = result.faces[number];
    const whole = number === chosen || (result.faces.length <= FEW && taken[number].height >= 4.8 * letter);
    const forms = [...(whole ? [label(number, face, fields)] : []), [shortLabel(face, fields)]];
    if (fields === null) forms.push([String(number)]);
    const written = write(context, taken[number], forms.filter(([line]) => line), letter, taken);
    if (written) taken.push(written);
  }
}

/** A box in whole pixels of the canvas, so that its lines are sharp. */
function scaled(box, zoom) {
  const [x, y, right, low] = [box.x1, box.y1, box.x2, box.y2].map((side) => Math.round(side * zoom));
  return { x, y, width: right - x, height: low - y };
}

/** Coloured lines, the last on top, on a darker, broader one, so that they show on any background. */
function outline(context, { x, y, width, height }, ...lines) {
  for (const [colour, thick] of [[PAPER, lines[0][1] + 2], ...lines]) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.strokeRect(x, y, width, height);
  }
}

function dot(context, x, y, radius) {
  for (const [colour, size] of [[PAPER, 1.5 * radius], [POINT, radius]]) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fill();
  }
}

/** Write the longest form of a label for which there is room off every face and label; give its place, or null. */
function write(context, box, forms, letter, taken) {
  const step = 1.6 * letter;
  const pad = 0.6 * letter;
  context.font = `500 ${1.35 * letter}px system-ui, "Noto Sans", sans-serif`;
  const reach = FAR * Math.max(context.canvas.width, context.canvas.height);
  for (const most of [Math.max(2 * step, 0.35 * Math.max(box.width, box.height)), reach]) {
    for (const lines of forms) {
      const width = Math.max(...lines.map((line) => context.measureText(line).width)) + 2 * pad;
      const height = step * lines.length + pad;
      const place = nearest(context.canvas, box, width, height, taken, most, letter);
      if (!place) continue;
      const at = { ...place, width, height };
      lead(context, at, box, letter);
      context.fillStyle = "rgb(24 24 24 / 78%)";
      context.fillRect(at.x, at.y, width, height);
      context.fillStyle = "#ffffff";
      context.textBaseline = "middle";
      lines.forEach((line, row) => context.fillText(line, at.x + pad, at.y + pad / 2 + step * (row + 0.5)));
      return at;
    }
  }
  return null;
}

/** The free place of a label nearest to its face, on rings around it; null where there is none within `most`. */
function nearest(canvas, box, width, height, taken, most, letter) {
  const free = ([x, y]) =>
    x >= 0 && x + width <= canvas.width && y >= 0 && y + height <= canvas.height
    && !taken.some((t) => x < t.x + t.width && t.x < x + width && y < t.y + t.height && t.y < y + height);
  for (let gap = 0; gap <= most; gap += Math.max(2, letter / 2)) {
    const [left, right] = [box.x - gap - width, box.x + box.width + gap];
    const [above, below] = [box.y - gap - height, box.y + box.height + gap];
    const places = [[right, box.y], [box.x, above], [box.x, below], [left, box.y]];
    for (let x = left; x <= right; x += 2 * letter) places.push([x, above], [x, below]);
    for (let y = above; y <= below; y += letter) places.push([right, y], [left, y]);
    const found = places.find(free);
    if (found) return { x: found[0], y: found[1] };
  }
  return null;
}

/** A line from a label to its face, where it does not stand beside it. */
function lead(context, at, box, letter) {
  const between = (low, long, other, far) => {
    const [start, end] = [Math.max(low, other), Math.min(low + long, other + far)];
    if (start <= end) return [(start + end) / 2, (start + end) / 2];
    return low + long < other ? [low + long, other] : [low, other + far];
  };
  const [x1, x2] = between(at.x, at.width, box.x, box.width);
  const [y1, y2] = between(at.y, at.height, box.y, box.height);
  if (Math.hypot(x2 - x1, y2 - y1) <= letter) return;
  for (const [colour, thick] of [[PAPER, 3], [CHOSEN, 1]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
  }
}

/** Number of the smallest face at a place, in pixels of the picture, or null. */
export function faceAt(result, x, y) {
  const area = ({ x1, y1, x2, y2 }) => (x2 - x1) * (y2 - y1);
  let found = null;
  result.faces.forEach(({ box }, number) => {
    const inside = x >= box.x1 && x <= box.x2 && y >= box.y1 && y <= box.y2;
    if (inside && (found === null || area(box) < area(result.faces[found].box))) found = number;
  });
  return found;
}
