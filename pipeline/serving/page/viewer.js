/** The place where one picture is seen, drawn anew whenever its size changes. */

import { annotated, faceAt, plain } from "./canvas.js";
import { counted } from "./words.js";

const LETTER = 9; // height of a capital, CSS pixels
const LARGEST = 4; // a small picture is shown no larger than so many times its size
const HEIGHT = 0.6; // of the window

export class Viewer {
  #seen = null;

  /**
   * @param {HTMLElement} stage that holds the canvas and the words.
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} words shown where there is no picture.
   * @param {function} choose called with the number of a face that was clicked at.
   */
  constructor(stage, canvas, words, choose) {
    Object.assign(this, { stage, canvas, words });
    new ResizeObserver(() => this.#draw()).observe(stage);
    canvas.addEventListener("click", ({ offsetX, offsetY }) => {
      const { result } = this.#seen;
      const zoom = result ? result.width / canvas.clientWidth : 0;
      const number = result && faceAt(result, offsetX * zoom, offsetY * zoom);
      if (number !== null) choose(number);
    });
  }

  /** Words in place of a picture. */
  say(text) {
    this.#seen = null;
    this.canvas.hidden = true;
    this.words.hidden = false;
    this.words.textContent = text;
  }

  /** A picture; with its result drawn upon it, if there is one. */
  show(name, bitmap, result, chosen = null, layers = undefined) {
    this.#seen = { bitmap, result, chosen, layers };
    this.words.hidden = true;
    this.canvas.hidden = false;
    this.canvas.ariaLabel = result ? `${name}: ${counted(result.faces.length, "face")}` : name;
    this.#draw();
  }

  #draw() {
    if (!this.#seen) return;
    const { bitmap, result, chosen, layers } = this.#seen;
    const { width, height } = result ?? bitmap;
    const zoom = Math.min(this.stage.clientWidth / width, (HEIGHT * innerHeight) / height, LARGEST);
    const wide = Math.max(1, Math.round(width * zoom));
    const dense = Math.round(wide * devicePixelRatio);
    this.canvas.style.width = `${wide}px`;
    if (result) annotated(this.canvas, bitmap, result, dense, LETTER * devicePixelRatio, chosen, layers);
    else plain(this.canvas, bitmap, dense, Math.max(1, Math.round((dense * height) / width)));
  }
}
