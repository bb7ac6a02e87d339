/** Pictures decoded, upright, and small copies of them. */

import { render } from "./api.js";

const SIDE = 88; // of a small copy: 44 px on a screen of double density

/**
 * A picture decoded and turned upright, as its result's boxes have it. What the browser cannot show (HEIC, TIFF), or
 * turns otherwise than the server does, the server shows: of a confidence above 1 there is nothing, so nothing is drawn.
 *
 * @param {Blob} picture encoded.
 * @param {object} result its result.
 */
export async function upright(picture, result) {
  try {
    const bitmap = await createImageBitmap(picture);
    if (bitmap.width === result.width && bitmap.height === result.height) return bitmap;
    bitmap.close();
  } catch {
    // not a format of this browser's
  }
  return createImageBitmap(await render(picture, { conf: 1, detector: null, classifiers: [] }));
}

/** The middle of a picture, as a small square canvas. */
export function small(bitmap) {
  const side = Math.min(bitmap.width, bitmap.height);
  return square(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side);
}

/** A face and a little around it, as a small square canvas. */
export function cropped(bitmap, result, { x1, y1, x2, y2 }) {
  const zoom = bitmap.width / result.width;
  const side = 1.2 * Math.max(x2 - x1, y2 - y1) * zoom;
  return square(bitmap, ((x1 + x2) * zoom - side) / 2, ((y1 + y2) * zoom - side) / 2, side);
}

function square(bitmap, x, y, side) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  canvas.ariaHidden = "true";
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, x, y, side, side, 0, 0, SIDE, SIDE);
  return canvas;
}
