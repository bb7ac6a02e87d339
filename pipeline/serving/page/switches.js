/** What is drawn: switches of the layers and of what labels name, as `--draw` and `--label-fields` have them. */

import { element } from "./element.js";

export class Switches {
  #unnamed = new Set(); // kept while versions change

  /**
   * @param {HTMLElement} layers that holds a checkbox for each layer.
   * @param {HTMLElement} fields where one for each attribute is put.
   * @param {function} changed called when one was switched.
   */
  constructor(layers, fields, changed) {
    Object.assign(this, { layers, fields });
    fields.addEventListener("change", ({ target }) => {
      if (target.checked) this.#unnamed.delete(target.value);
      else this.#unnamed.add(target.value);
    });
    for (const place of [layers, fields]) place.addEventListener("change", changed);
  }

  /** Offer the attributes of the classifiers in use, as the server lists them; points are drawn, not named. */
  offer(attributes) {
    const names = new Set(attributes.filter(({ kind }) => kind !== "points").map(({ name }) => name));
    const boxes = [...names].map((name) => {
      const box = element("input", { type: "checkbox", value: name, checked: !this.#unnamed.has(name) });
      return element("label", {}, box, ` ${name}`);
    });
    this.fields.replaceChildren("Labels name", ...boxes);
  }

  /** Show the switches where boxes are drawn, those of labels where there are any. */
  show(drawn) {
    this.layers.hidden = !drawn;
    this.fields.hidden = !drawn || !this.options.layers.has("labels");
  }

  /** `{layers, fields}` for `annotated`. */
  get options() {
    const named = on(this.fields);
    const all = named.length === this.fields.querySelectorAll("input").length;
    return { layers: new Set(on(this.layers)), fields: all ? null : named };
  }
}

const on = (place) => [...place.querySelectorAll(":checked")].map(({ value }) => value);
