/**
 * The pictures of the page and what the server said of them. Each is asked for on its own, a few at a time, so that one
 * that cannot be read fails alone. Says `change` whenever something is to be shown anew.
 */

import { detect } from "./api.js";
import { cropped, small, upright } from "./bitmaps.js";
import { aboveOnly, namedOnly, suffices } from "./thresholds.js";

const AT_A_TIME = 3;
const KEPT = 6; // answers of a picture
const UNREADABLE = [413, 415, 422]; // whatever the models and thresholds

/**
 * One picture.
 *
 * `state` is `waiting`, `asking`, `busy` (the server is), `done` or `failed`; `note` says why. `found` is what the last
 * fitting answer says, null before there is one; while the server is asked again it is what is known so far.
 */
class Picture {
  static count = 0;

  id = (Picture.count += 1);
  state = "waiting";
  note = "";
  found = null;
  answers = [];
  failure = null;
  thumb = null;
  crops = new Map();
  #opening = null;

  constructor(name, blob) {
    this.name = name;
    this.blob = blob;
  }

  /** The picture decoded; kept until `close`. */
  bitmap() {
    this.#opening ??= upright(this.blob, this.answers[0].result);
    return this.#opening;
  }

  close() {
    this.#opening?.then((bitmap) => bitmap.close(), () => {});
    this.#opening = null;
  }
}

export class Pictures extends EventTarget {
  items = [];
  selected = null;
  /** `{conf, detector, classifiers, models}`: a confidence and versions, all of them given, and `models` for results. */
  choice = null;
  /** Least probability of an attribute to be named. */
  least = 0;
  #asking = new Map();
  #clock = null;

  /** @param {Iterable<File>} files */
  add(files) {
    const added = [...files].map((file) => new Picture(file.name || "picture", file));
    this.items.push(...added);
    if (added.length) this.select(this.selected ?? added[0]);
    this.#next();
  }

  remove(item) {
    this.#stop(item);
    item.close();
    const place = this.items.indexOf(item);
    this.items.splice(place, 1);
    if (this.selected === item) this.select(this.items[place] ?? this.items[place - 1] ?? null);
    this.#next();
  }

  clear() {
    for (const item of [...this.items]) this.remove(item);
  }

  select(item) {
    if (this.selected !== item) this.selected?.close();
    this.selected = item;
    this.#changed();
  }

  /** Ask again for what failed for another reason than the picture itself. */
  retry() {
    for (const item of this.items) if (this.retriable(item)) this.#fresh(item);
    this.#next();
  }

  retriable = (item) => item.state === "failed" && !UNREADABLE.includes(item.failure.status);

  /** Take another confidence or other versions; the server is asked where no answer at hand suffices, after `wait` ms. */
  choose(choice, wait = 0) {
    this.choice = choice;
    for (const item of this.items) {
      if (item.state === "failed" && UNREADABLE.includes(item.failure.status)) continue;
      this.#stop(item);
      this.#fresh(item);
      this.#fill(item);
    }
    clearTimeout(this.#clock);
    this.#clock = setTimeout(() => this.#next(), wait);
    this.#changed();
  }

  /** The result of a picture as it is shown and saved, null where there is none. */
  shown = (item) => item.found && namedOnly(item.found, this.least);

  /** As the server reports a picture that could not be read in a request of several. */
  failed = (item) => ({
    source: item.name, width: null, height: null, faces: [], heads: [], models: this.choice.models,
    error: item.failure.message, frame: null, time: null, source_sha256: null, warning: null,
  });

  /** The results of all pictures, once all of them are done or failed, else null. */
  results() {
    const settled = this.items.every((item) => item.state === "done" || item.state === "failed");
    if (!settled || !this.items.length || !this.choice) return null;
    return this.items.map((item) => (item.state === "failed" ? this.failed(item) : this.shown(item)));
  }

  #fresh(item) {
    item.state = "waiting";
    item.note = "";
    item.failure = null;
  }

  /** Fill in what the answers at hand say of a picture. */
  #fill(item) {
    const { conf, detector, classifiers } = this.choice;
    const versions = [detector, ...classifiers].join(" ");
    const fitting = item.answers.filter((each) => each.versions === versions);
    const exact = fitting.find((each) => each.conf === conf)
      ?? fitting.find((each) => each.conf < conf && suffices(each.result, conf));
    const nearest = exact ?? fitting.find((each) => each.conf < conf) ?? fitting[0];
    item.found = nearest ? aboveOnly(nearest.result, conf) : null;
    if (exact) item.state = "done";
  }

  #next() {
    for (const item of this.items) {
      if (!this.choice || this.#asking.size >= AT_A_TIME) break;
      if (item.state === "waiting") this.#ask(item);
    }
    this.#changed();
  }

  #stop(item) {
    this.#asking.get(item)?.abort();
    this.#asking.delete(item);
  }

  async #ask(item) {
    const stopper = new AbortController();
    const { signal } = stopper;
    const { conf, detector, classifiers } = this.choice;
    const busy = (seconds) => {
      item.state = "busy";
      item.note = `the server is busy; trying again in ${Math.ceil(seconds)} s`;
      this.#changed();
    };
    this.#asking.set(item, stopper);
    item.state = "asking";
    try {
      await readable(item.blob);
      const result = await detect(item.blob, { conf, detector, classifiers }, { signal, busy });
      if (signal.aborted) return;
      const answer = { conf, versions: [detector, ...classifiers].join(" "), result: { ...result, source: item.name } };
      item.answers = [answer, ...item.answers].slice(0, KEPT);
      item.note = "";
      this.#fill(item);
      this.#picture(item, answer.result);
    } catch (error) {
      if (signal.aborted) return;
      item.state = "failed";
      item.failure = error;
      item.note = error.message;
      if (error.status === 401) this.dispatchEvent(new Event("locked"));
    }
    this.#asking.delete(item);
    this.#next();
  }

  /** Make the small pictures of a picture and of its faces. */
  async #picture(item, result) {
    try {
      const bitmap = await item.bitmap();
      item.thumb ??= small(bitmap);
      for (const { box } of result.faces) {
        const place = Object.values(box).join();
        if (!item.crops.has(place)) item.crops.set(place, cropped(bitmap, result, box));
      }
    } catch {
      item.note = "found, but neither this browser nor the server could show the picture";
    }
    if (item !== this.selected) item.close();
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** A folder, or a file that has gone since it was chosen, fails here and not as an upload. */
async function readable(blob) {
  try {
    await blob.slice(0, 1).arrayBuffer();
  } catch {
    throw Object.assign(new Error("cannot be read here: a folder, or it is no longer there"), { status: 415 });
  }
}
