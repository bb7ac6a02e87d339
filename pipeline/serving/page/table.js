/** The table of faces: a row each, sorted by the column whose heading was pressed last. */

import { element } from "./element.js";
import { inWords } from "./words.js";

/** A row's values are compared in turn; what is missing comes last in both directions. */
function compare(one, other, upwards) {
  for (let place = 0; place < one.length; place += 1) {
    const [left, right] = [one[place], other[place]];
    if (left === right) continue;
    if (left === null || right === null) return left === null ? 1 : -1;
    const order = typeof left === "string" ? left.localeCompare(right) : left - right;
    if (order) return upwards ? order : -order;
  }
  return 0;
}

export class FaceTable {
  #sorted = null;
  #upwards = true;
  #faces = [];

  /**
   * @param {HTMLTableElement} table with a head and a body.
   * @param {function} choose called with a face of `show` when its row is chosen.
   */
  constructor(table, choose) {
    this.table = table;
    this.choose = choose;
    table.tBodies[0].addEventListener("keydown", (event) => this.#step(event));
  }

  /**
   * @param {object[]} faces `{picture, source, number, face, crop}`, in the order that they have without sorting.
   * @param {object|null} chosen `{picture, number}` of the marked one.
   * @param {boolean} several whether they are of several pictures.
   */
  show(faces, chosen, several) {
    this.#faces = [faces, chosen, several];
    const columns = this.#columns(faces, several);
    if (!columns.some((column) => column.name === this.#sorted)) this.#sorted = null;
    const by = columns.find((column) => column.name === this.#sorted);
    const rows = faces.map((face) => ({ face, rank: by ? by.rank(face) : [] }));
    if (by) rows.sort((one, other) => compare(one.rank, other.rank, this.#upwards));
    const focused = document.activeElement?.dataset.keep;
    this.#head(columns);
    const body = this.table.tBodies[0];
    const is = (face) => chosen !== null && face.picture === chosen.picture && face.number === chosen.number;
    const first = Math.max(0, rows.findIndex(({ face }) => is(face)));
    body.replaceChildren(...rows.map(({ face }, place) => this.#row(face, columns, is(face), place === first)));
    if (focused) this.table.querySelector(`[data-keep="${CSS.escape(focused)}"]`)?.focus();
  }

  #columns(faces, several) {
    const names = new Set(faces.flatMap(({ face }) => Object.keys(face.attributes ?? {})));
    const value = (each, name) => each.face.attributes?.[name] ?? null;
    const shown = [...names].filter((name) => faces.some((each) => value(each, name) && inWords(value(each, name))));
    return [
      { name: "face", rank: (each) => [each.picture, each.number] },
      ...(several ? [{ name: "picture", className: "source", text: (each) => [each.source], rank: (each) => [each.source, each.number] }] : []),
      { name: "confidence", text: ({ face }) => [face.confidence.toFixed(2)], rank: ({ face }) => [face.confidence] },
      ...shown.map((name) => ({
        name,
        text: (each) => (value(each, name) ? inWords(value(each, name)) : ["–"]),
        rank: (each) => rank(value(each, name)),
      })),
      ...(faces.some(({ face }) => face.reason) ? [{ name: "remark", text: ({ face }) => [face.reason ?? ""], rank: ({ face }) => [face.reason] }] : []),
    ];
  }

  #head(columns) {
    const cells = columns.map(({ name }) => {
      const button = element("button", { type: "button", data: { keep: `head ${name}` } }, name);
      button.addEventListener("click", () => {
        this.#upwards = this.#sorted === name ? !this.#upwards : true;
        this.#sorted = name;
        this.show(...this.#faces);
      });
      const cell = element("th", { scope: "col" }, button);
      if (name === this.#sorted) cell.ariaSort = this.#upwards ? "ascending" : "descending";
      return cell;
    });
    this.table.tHead.replaceChildren(element("tr", {}, ...cells));
  }

  #row(each, columns, chosen, reached) {
    const { picture, source, number, crop } = each;
    const button = element(
      "button",
      {
        type: "button",
        className: "face",
        tabIndex: reached ? 0 : -1, // one stop of the Tab key for the whole table; arrows go on from there
        aria: { pressed: chosen, label: `face ${number} of ${source}` },
        data: { keep: `face ${picture} ${number}` },
      },
      ...(crop ? [crop] : []),
      String(number),
    );
    const cells = columns.slice(1).map(({ name, text, className = "" }) => {
      const [words, remark] = text(each);
      const cell = element("td", { className, title: className ? words : "", data: { label: name } }, words);
      if (remark) cell.append(" ", element("small", {}, remark));
      return cell;
    });
    const row = element("tr", { className: chosen ? "chosen" : "" }, element("td", {}, button), ...cells);
    row.addEventListener("click", () => this.choose(each));
    return row;
  }

  #step(event) {
    const rows = [...this.table.tBodies[0].rows];
    const here = rows.findIndex((row) => row.contains(document.activeElement));
    const there = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (there === undefined || !rows[there]) return;
    event.preventDefault();
    rows[here]?.querySelector(".face").setAttribute("tabindex", "-1");
    const button = rows[there].querySelector(".face");
    button.tabIndex = 0;
    button.focus();
  }
}

/** What a value is sorted by. */
function rank(value) {
  if (!value) return [null, null];
  return "probability" in value ? [value.value, value.probability] : [value.value, null];
}
