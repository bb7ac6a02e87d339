/** The models to choose from: a select for the detector, and one for each classifier. */

import { element } from "./element.js";

const OFF = "";

export class Versions {
  #detector;
  #classifiers = new Map();

  /**
   * @param {HTMLElement} place where the selects are put.
   * @param {object} models what `GET /v1/models` answers.
   * @param {function} changed called when another version was chosen.
   */
  constructor(place, models, changed) {
    this.models = models;
    const names = [...new Set(models.classifiers.map(({ name }) => name))];
    this.#detector = select("detector", models.detectors, false, changed);
    for (const name of names) {
      const versions = models.classifiers.filter((each) => each.name === name);
      const title = name === "face" ? "classifier" : `classifier ${name}`;
      this.#classifiers.set(name, select(title, versions, names.length > 1, () => {
        this.#one(name);
        changed();
      }));
    }
    place.replaceChildren(...[this.#detector, ...this.#classifiers.values()].flatMap((each) => [each.label, each.select]));
  }

  /** The detector that is chosen, as the server describes it. */
  get detector() {
    return this.models.detectors.find(({ version }) => version === this.#detector.select.value);
  }

  /** The classifiers that are chosen, as the server describes them. */
  get classifiers() {
    const chosen = [...this.#classifiers.values()].map((each) => each.select.value);
    return this.models.classifiers.filter(({ version }) => chosen.includes(version));
  }

  /** As the results of a confidence name them. */
  used(confidence) {
    return {
      detector: { ...this.detector.in_results, confidence },
      classifiers: Object.fromEntries(this.classifiers.map((each) => [each.name, each.in_results])),
      facepipe: this.models.facepipe,
    };
  }

  /** At least one classifier is on: one that was the last stays. */
  #one(name) {
    const each = this.#classifiers.get(name).select;
    if (!this.classifiers.length) each.value = [...each.options].find(({ value }) => value !== OFF).value;
  }
}

function select(title, versions, optional, changed) {
  const used = versions.find((each) => each.used);
  const made = element("select", { id: `version-${title.replaceAll(" ", "-")}` });
  for (const { version } of versions) made.append(element("option", { value: version }, version));
  if (optional) made.append(element("option", { value: OFF }, "off"));
  made.value = used ? used.version : optional ? OFF : versions[0].version;
  made.disabled = made.options.length < 2;
  made.addEventListener("change", changed);
  return { select: made, label: element("label", { htmlFor: made.id }, title[0].toUpperCase() + title.slice(1)) };
}
