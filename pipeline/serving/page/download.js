/** Files made in the page and saved by the browser. */

import { element } from "./element.js";

/** @param {Blob} content */
export function save(content, name) {
  const address = URL.createObjectURL(content);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** A canvas as JPEG. */
export function jpeg(canvas) {
  return new Promise((done, failed) => {
    const take = (blob) => (blob ? done(blob) : failed(new Error("The picture is too large for this browser to save")));
    canvas.toBlob(take, "image/jpeg", 0.92);
  });
}

/** A picture's name without its ending. */
export const stem = (name) => name.replace(/\.[^.]*$/, "") || name;
