/**
 * Results as CSV, to the last character as `facepipe detect --out results.csv` writes them: one row a face, one of a
 * picture without faces or with an error; see facepipe's `pipeline/outputs/rows.py` and `tabular.py`.
 */

const FORMULA = ["=", "+", "-", "@", "\t", "\r"];
const HEAD = ["source", "error", "width", "height", "face", "x1", "y1", "x2", "y2", "confidence", "head", "reason"];
const REAL = ["confidence", "iou"]; // of a model's fields

/**
 * @param {object[]} results
 * @param {object[]} attributes of the classifiers in use, as `GET /v1/models` lists them.
 * @param {object} models in use, as results name them.
 */
export function csv(results, attributes, models) {
  const names = [...HEAD, ...attributes.flatMap(columns), ...modelColumns(models), "facepipe", "source_sha256", "warning"];
  const rows = [free(names)];
  for (const result of results) {
    const start = [plain(result.source), plain(result.error), result.width, result.height];
    const end = [...modelCells(result.models, models), result.models.facepipe, result.source_sha256, result.warning];
    const empty = Array(names.length - start.length - end.length).fill(null);
    if (!result.faces.length) rows.push([...start, ...empty, ...end]);
    result.faces.forEach((face, number) => rows.push([...start, ...cells(face, number, attributes), ...end]));
  }
  return rows.map((row) => `${row.map(quoted).join()}\r\n`).join("");
}

/** The detector and the classifiers, each with its name. */
const each = ({ detector, classifiers }) => [["detector", detector], ...Object.entries(classifiers)];

const modelColumns = (models) => each(models).flatMap(([name, used]) => Object.keys(used).map((field) => `${field}_${name}`));

/** What a result's models say, in the order of those in use. */
function modelCells(used, models) {
  const of = Object.fromEntries(each(used));
  const cell = (model, field) => (REAL.includes(field) ? python(model[field]) : model[field]);
  return each(models).flatMap(([name, model]) => Object.keys(model).map((field) => cell(of[name], field)));
}

function columns(attribute) {
  const { kind, name } = attribute;
  if (kind === "points") return attribute.points.flatMap((point) => [`${name}_${point}_x`, `${name}_${point}_y`]);
  if (kind === "numeric") return [name, `${name}_low`, `${name}_high`];
  return [name, `${name}_probability`, ...attribute.classes.map((each) => `${name}_${each}`)];
}

function cells(face, number, attributes) {
  const { x1, y1, x2, y2 } = face.box;
  const reasons = Object.entries(face.reasons).map(([name, text]) => `${name}: ${text}`).join("; ");
  const own = [number, ...[x1, y1, x2, y2].map((side) => real(side, 2)), real(face.confidence, 6), face.head];
  const read = attributes.flatMap((attribute) => values(attribute, face.attributes?.[attribute.name]));
  return [...own, face.reason || reasons || null, ...read];
}

function values(attribute, value) {
  if (!value) return Array(columns(attribute).length).fill(null);
  if (attribute.kind === "points") {
    return attribute.points.flatMap((point) => value.points[point].map((side) => real(side, 2)));
  }
  if (attribute.kind === "numeric") {
    const step = (attribute.high - attribute.low) / ((attribute.bins || 101) - 1);
    const fine = Math.max(0, Math.ceil(-Math.log10(step))) + 2;
    return [value.value, ...value.interval].map((each) => real(each, fine));
  }
  return [value.value, real(value.probability, 6), ...attribute.classes.map((each) => real(value.probabilities[each], 6))];
}

/** A number rounded as Python does, ties to the even digit. */
function real(number, places) {
  const digits = Math.abs(number).toFixed(100); // exact, but for what is far below any rounding
  const kept = digits.slice(0, digits.length - 100 + places);
  const even = /[02468]$/.test(kept) && /^50*$/.test(digits.slice(kept.length));
  return python(Math.sign(number) * Number(even ? kept : Math.abs(number).toFixed(places)));
}

/** A number as Python writes it: `1.0`, `2e-06`. */
function python(number) {
  if (number && Math.abs(number) < 1e-4) return number.toExponential().replace(/e-(\d)$/, "e-0$1");
  return Number.isInteger(number) ? `${Object.is(number, -0) ? "-0" : number}.0` : String(number);
}

/** Names with `_2`, `_3` … at the end of those that are taken already. */
function free(names) {
  const taken = new Set();
  return names.map((wanted) => {
    let name = wanted;
    for (let number = 2; taken.has(name); number += 1) name = `${wanted}_${number}`;
    taken.add(name);
    return name;
  });
}

/** A text that no spreadsheet takes for a formula. */
const plain = (text) => (text !== null && FORMULA.includes(text[0]) ? `./${text}` : text);

function quoted(cell) {
  const text = cell === null ? "" : String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
