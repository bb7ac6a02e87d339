/** The place where one picture is seen, whole or enlarged, drawn anew whenever its size changes. */

import { annotated, faceAt, plain } from "./canvas.js";
import { counted } from "./words.js";

const LETTER = 9; // height of a capital, CSS pixels
const LARGEST = 4; // a small picture is shown no larger than so many times its size
const HEIGHT = 0.6; // of the window
const ENLARGED = 2; // at least so many times what is seen whole
const MOST = 16e6; // pixels of a canvas: of a larger one some phones show nothing

export class Viewer {
  #seen = null;
  #enlarged = false;

  /**
   * @param {HTMLElement} stage that holds the canvas and the words; an enlarged picture scrolls in it.
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} words shown where there is no picture.
   * @param {HTMLButtonElement} button that enlarges a picture that the place is too small for, as a click beside the
   *   faces does.
   * @param {function} choose called with the number of a face that was clicked at.
   */
  constructor(stage, canvas, words, button, choose) {
    Object.assign(this, { stage, canvas, words, button });
    new ResizeObserver(() => this.#draw()).observe(stage);
    canvas.addEventListener("click", ({ offsetX, offsetY }) => {
      const { result } = this.#seen;
      const zoom = this.#size.width / canvas.clientWidth;
      const place = [offsetX * zoom, offsetY * zoom];
      const number = result && faceAt(result, ...place);
      if (number !== null) choose(number);
      else this.#enlarge(!this.#enlarged, place);
    });
    button.addEventListener("click", () => this.#enlarge(!this.#enlarged, this.#middle()));
    stage.addEventListener("keydown", ({ key }) => {
      if (key !== "Escape" || !this.#enlarged) return;
      this.#enlarge(false);
      button.focus();
    });
  }

  /** Words in place of a picture. */
  showText(text) {
    this.#seen = null;
    this.#enlarge(false);
    this.canvas.hidden = true;
    this.words.hidden = false;
    this.words.textContent = text;
  }

  /**
   * A picture; with its result drawn upon it, if there is one.
   *
   * @param {object} options of `annotated`.
   */
  show(name, bitmap, result, options) {
    const before = this.#seen;
    this.#seen = { name, bitmap, result, options };
    if (before?.name !== name) this.#enlarged = false;
    this.words.hidden = true;
    this.canvas.hidden = false;
    this.canvas.ariaLabel = result ? `${name}: ${counted(result.faces.length, "face")}` : name;
    this.#draw();
    const other = (options.chosen ?? null) !== null && options.chosen !== before?.options.chosen;
    if (this.#enlarged && other) this.#scroll(this.#middle());
  }

  /** Of the picture, which its boxes are in. */
  get #size() {
    return this.#seen.result ?? this.#seen.bitmap;
  }

  /** How often the picture is enlarged where all of it is seen. */
  get #whole() {
    const { width, height } = this.#size;
    return Math.min(this.stage.clientWidth / width, (HEIGHT * innerHeight) / height, LARGEST);
  }

  /** Of the chosen face, or of the picture. */
  #middle() {
    const { result, options } = this.#seen;
    const { x1, y1, x2, y2 } = result?.faces[options.chosen]?.box ?? { x1: 0, y1: 0, x2: this.#size.width, y2: this.#size.height };
    return [(x1 + x2) / 2, (y1 + y2) / 2];
  }

  #enlarge(wanted, place = null) {
    this.#enlarged = wanted;
    this.#draw();
    if (this.#enlarged) this.#scroll(place);
  }

  /** Bring a place of the picture into the middle. */
  #scroll([x, y]) {
    const { stage, canvas } = this;
    const zoom = canvas.clientWidth / this.#size.width;
    stage.scrollTo(x * zoom - stage.clientWidth / 2, y * zoom - stage.clientHeight / 2);
  }

  #draw() {
    const small = this.#seen !== null && this.#whole < 1;
    this.#enlarged &&= small;
    this.button.hidden = !small;
    this.button.ariaPressed = String(this.#enlarged);
    this.stage.classList.toggle("small", small);
    this.stage.classList.toggle("enlarged", this.#enlarged);
    if (this.#enlarged) this.stage.tabIndex = 0; // arrows scroll it
    else this.stage.removeAttribute("tabindex");
    if (!this.#seen) return;
    const { bitmap, result, options } = this.#seen;
    const { width, height } = this.#size;
    const zoom = this.#enlarged ? Math.max(1, ENLARGED * this.#whole) : this.#whole;
    const wide = Math.max(1, Math.round(width * zoom));
    const dense = Math.round(Math.min(wide * devicePixelRatio, Math.sqrt((MOST * width) / height)));
    this.canvas.style.width = `${wide}px`;
    if (result) annotated(this.canvas, bitmap, result, dense, (LETTER * dense) / wide, options);
    else plain(this.canvas, bitmap, dense, Math.max(1, Math.round((dense * height) / width)));
  }
}
