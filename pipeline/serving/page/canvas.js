/** A picture with what was found in it drawn on a canvas. */

import { label } from "./words.js";

const FACE = "#40dc60";
const HEAD = "#40a8ff";
const POINT = "#ffd040";
const CHOSEN = "#ffffff";
const PAPER = "#181818";
const SMALL = 640;

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
 * @param {number|null} chosen number of the face that is marked.
 */
export function annotated(canvas, bitmap, result, width, letter, chosen = null) {
  const zoom = width / result.width;
  const context = plain(canvas, bitmap, width, Math.max(1, Math.round(result.height * zoom)));
  const stroke = Math.max(1, Math.round(letter / 5));
  for (const head of result.heads) outline(context, scaled(head.box, zoom), [HEAD, stroke]);
  result.faces.forEach((face, number) => {
    const lines = number === chosen ? [[FACE, 3 * stroke], [CHOSEN, stroke]] : [[FACE, stroke]];
    outline(context, scaled(face.box, zoom), ...lines);
    for (const value of Object.values(face.attributes ?? {})) {
      for (const [x, y] of Object.values(value.points ?? {})) dot(context, x * zoom, y * zoom, stroke);
    }
  });
  const taken = result.faces.map((face) => scaled(face.box, zoom));
  const inOrder = [...result.faces.keys()].sort((one, other) => (other === chosen) - (one === chosen));
  for (const number of inOrder) {
    const box = taken[number];
    const whole = number === chosen || box.height >= 4.8 * letter;
    const lines = whole ? label(number, result.faces[number]) : [String(number)];
    taken.push(write(context, box, lines, letter, taken));
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

function dot(context, x, y, stroke) {
  for (const [colour, radius] of [[PAPER, stroke + 2], [POINT, stroke + 1]]) {
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }
}

/** Write a label beside its box: inside of the picture and off what is taken, if there is such a place. */
function write(context, box, lines, letter, taken) {
  const size = 1.35 * letter;
  const step = 1.6 * letter;
  const pad = 0.6 * letter;
  context.font = `500 ${size}px system-ui, "Noto Sans", sans-serif`;
  const width = Math.max(...lines.map((line) => context.measureText(line).width)) + 2 * pad;
  const height = step * lines.length + pad;
  const right = context.canvas.width - width;
  const low = context.canvas.height - height;
  const places = [
    [box.x + box.width, box.y],
    [box.x - width, box.y],
    [box.x, box.y + box.height],
    [box.x, box.y - height],
  ];
  const free = ([x, y]) =>
    x >= 0 && x <= right && y >= 0 && y <= low
    && !taken.some((t) => x < t.x + t.width && t.x < x + width && y < t.y + t.height && t.y < y + height);
  const fallback = [Math.max(0, Math.min(places[0][0], right)), Math.max(0, Math.min(box.y, low))];
  const [x, y] = places.find(free) ?? fallback;
  context.fillStyle = "rgb(24 24 24 / 78%)";
  context.fillRect(x, y, width, height);
  context.fillStyle = "#ffffff";
  context.textBaseline = "middle";
  lines.forEach((line, row) => context.fillText(line, x + pad, y + pad / 2 + step * (row + 0.5)));
  return { x, y, width, height };
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
