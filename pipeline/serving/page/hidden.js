/** Pictures with their faces or heads hidden, which the server makes: what is hidden never was in the file. */

import { render } from "./api.js";

export class Hidden {
  #last = { wanted: null, made: null };

  /**
   * The picture, `{blob, bitmap}`; the last one is kept.
   *
   * @param {object} item of the pictures.
   * @param {object} choice its confidence and versions.
   * @param {object} how `{hide, what}`.
   */
  get(item, { conf, detector, classifiers }, how) {
    const wanted = JSON.stringify([item.id, conf, detector, classifiers, how]);
    if (this.#last.wanted !== wanted) {
      this.#last.made?.then(({ bitmap }) => bitmap.close(), () => {});
      const made = this.#make(item, { conf, detector, classifiers }, how);
      made.catch(() => this.#last.made === made && (this.#last.wanted = null)); // asked for again next time
      this.#last = { wanted, made };
    }
    return this.#last.made;
  }

  async #make(item, choice, how) {
    const blob = await render(item.blob, choice, how);
    return { blob, bitmap: await createImageBitmap(blob) };
  }
}
