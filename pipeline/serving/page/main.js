/** The page: what is pressed, dropped and moved, and what is shown of it. */

import { detect, key, models, render } from "./api.js";
import { cropped } from "./bitmaps.js";
import { Camera } from "./camera.js";
import { annotated, enlarged } from "./canvas.js";
import { csv } from "./csv.js";
import { jpeg, save, stem } from "./download.js";
import { byId } from "./element.js";
import { Hidden } from "./hidden.js";
import { takeFiles } from "./inputs.js";
import { showList } from "./list.js";
import { Pictures } from "./pictures.js";
import { Switches } from "./switches.js";
import { FaceTable } from "./table.js";
import { namedOnly } from "./thresholds.js";
import { Versions } from "./versions.js";
import { Viewer } from "./viewer.js";
import { counted } from "./words.js";

const PAUSE = 300; // ms that a slider stands still before the server is asked

const pictures = new Pictures();
const camera = new Camera(byId("video"));
const hidden = new Hidden();
const switches = new Switches(byId("layers"), byId("fields"), showSwitches);
const viewer = new Viewer(byId("stage"), byId("canvas"), byId("instead"), byId("enlarge"), (number) => {
  if (!camera.on) mark(pictures.selected, number);
});
const table = new FaceTable(byId("table"), ({ picture, number }) => {
  const item = pictures.items.find(({ id }) => id === picture);
  if (item) mark(item, number);
});

let versions = null;
let conf = null; // null until the slider is moved: the detector's own
let marked = null; // {picture, number}
let live = null; // the camera's last frame: {blob, bitmap, result, crops}
let turn = 0;
let due = false;

/* Settings */

function choice() {
  const own = versions.detector.confidence; // the server answers from there on
  const least = Math.max(conf ?? own, own);
  return {
    conf: least,
    detector: versions.detector.version,
    classifiers: versions.classifiers.map(({ version }) => version),
    models: versions.used(least),
  };
}

function choose(wait = 0) {
  byId("conf").min = versions.detector.confidence;
  slide("conf", choice().conf);
  switches.offer(versions.classifiers.flatMap(({ attributes }) => attributes));
  showSwitches();
  pictures.choose(choice(), wait);
}

function slide(id, value) {
  const slider = byId(id);
  slider.value = value;
  slider.ariaValueText = byId(`${id}-out`).value = value.toFixed(2);
}

byId("conf").addEventListener("input", ({ target }) => {
  conf = target.valueAsNumber;
  choose(PAUSE);
});
byId("least").addEventListener("input", ({ target }) => {
  pictures.least = target.valueAsNumber;
  slide("least", pictures.least);
  soon();
});

async function start() {
  alarm("");
  let served;
  try {
    served = await models();
  } catch (problem) {
    if (problem.status === 401) locked();
    else alarm(`${problem.message}. Reload the page to try again.`);
    return;
  }
  versions = new Versions(byId("versions"), served, () => choose());
  byId("served").textContent = `facepipe ${served.facepipe}`;
  byId("conf").disabled = false;
  choose();
  pictures.retry();
}

/* The key */

function locked() {
  byId("lock").hidden = false;
  alarm(key.get() ? "The API key is not one of this server's." : "This server asks for an API key.");
  byId("key").focus();
}

byId("lock").hidden = !key.get();
byId("lock").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("key").value.trim();
  if (!/^[\x21-\x7e]*$/.test(text)) {
    alarm("An API key has only ASCII letters, digits and signs, and no spaces.");
    return;
  }
  key.set(text);
  byId("key").value = "";
  start();
});
pictures.addEventListener("locked", locked);

/* Pictures */

takeFiles(byId("choose"), (files) => {
  stopCamera();
  pictures.add(files);
});
byId("clear").addEventListener("click", () => {
  pictures.clear();
  byId("choose").focus();
});
byId("retry").addEventListener("click", () => pictures.retry());

function mark(item, number) {
  marked = { picture: item.id, number };
  pictures.select(item);
}

/* Camera */

byId("camera").addEventListener("click", async () => {
  alarm("");
  if (camera.on) return stopCamera();
  try {
    await camera.start(lookThrough, ({ message }) => viewer.showText(message));
    byId("camera").ariaPressed = "true";
    byId("shutter").hidden = false;
  } catch (error) {
    camera.stop();
    alarm(error.message);
  }
  soon();
});
byId("take").addEventListener("click", () => {
  const frame = live?.blob;
  stopCamera();
  if (!frame) return;
  const names = new Set(pictures.items.map(({ name }) => name));
  let number = 1;
  while (names.has(`camera-${number}.jpg`)) number += 1;
  pictures.add([new File([frame], `camera-${number}.jpg`, { type: "image/jpeg" })]);
  pictures.select(pictures.items.at(-1));
});

function stopCamera() {
  camera.stop();
  live?.bitmap.close();
  live = null;
  byId("camera").ariaPressed = "false";
  byId("shutter").hidden = true;
  soon();
}

/** Have one frame looked at, and show what is seen. */
async function lookThrough(blob) {
  if (!versions) throw new Error("The models are not known yet");
  const { signal } = camera;
  const asking = { signal, busy: () => viewer.showText("The server is busy; the camera waits.") };
  const hide = look();
  const result = hide ? null : await detect(blob, choice(), asking);
  const seen = hide ? await render(blob, choice(), hide, asking) : blob;
  const bitmap = await createImageBitmap(seen);
  if (signal.aborted) return bitmap.close();
  const crops = result?.faces.map(({ box }) => cropped(bitmap, result, box)) ?? [];
  live?.bitmap.close();
  live = { blob, bitmap, result: result && { ...result, source: "camera" }, crops };
  soon();
}

/* What is shown */

/** How faces are hidden, null where boxes are drawn. */
const look = () => (byId("look").value === "boxes" ? null : { hide: byId("look").value, what: byId("what").value });

for (const id of ["look", "what"]) byId(id).addEventListener("change", showSwitches);

function showSwitches() {
  byId("what").hidden = !look();
  switches.show(!look());
  soon();
}

function alarm(text) {
  byId("alert").textContent = text;
}

/** Show everything anew, once for all that changes before the next frame. */
function soon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    showList(byId("pictures"), pictures);
    showFaces();
    showStatus();
    showPicture();
  });
}

function showFaces() {
  const rows = camera.on ? seenLive() : pictures.items.flatMap(seenIn);
  byId("table").hidden = !rows.length;
  byId("none").hidden = rows.length > 0;
  table.show(rows, marked, !camera.on && pictures.items.length > 1);
}

const seenIn = (item) =>
  (pictures.shown(item)?.faces ?? []).map((face, number) => ({
    picture: item.id, source: item.name, number, face, crop: item.crops.get(Object.values(face.box).join()),
  }));

function seenLive() {
  const faces = live?.result ? namedOnly(live.result, pictures.least).faces : [];
  return faces.map((face, number) => ({ picture: 0, source: "camera", number, face, crop: live.crops[number] }));
}

function showStatus() {
  const { items } = pictures;
  const states = Object.groupBy(items, ({ state }) => state);
  const faces = items.reduce((sum, item) => sum + (item.found?.faces.length ?? 0), 0);
  const parts = items.length ? [`${counted(items.length, "picture")}, ${counted(faces, "face")}`] : [];
  if (states.failed) parts.push(`${states.failed.length} failed`);
  if (states.busy) parts.push("the server is busy, trying again");
  else if (states.asking || states.waiting) parts.push("looking …");
  const text = camera.on ? "The camera is on." : parts.join("; ");
  if (byId("status").textContent !== text) byId("status").textContent = text;
  byId("all").hidden = !items.length;
  byId("retry").hidden = !items.some(pictures.retriable);
  const whole = pictures.results() !== null;
  byId("save-json").disabled = byId("save-csv").disabled = !whole;
  byId("save-picture").disabled = camera.on || pictures.selected?.state !== "done";
}

async function showPicture() {
  turn += 1;
  const now = turn;
  const item = pictures.selected;
  byId("view-title").textContent = camera.on ? "Camera" : (item?.name ?? "No picture yet");
  if (camera.on) {
    const seen = live?.result && namedOnly(live.result, pictures.least);
    if (live) viewer.show("camera", live.bitmap, seen, switches.options);
    return;
  }
  if (!item) return viewer.showText("Faces get a box, their points and what was read of them.");
  if (!item.found) return viewer.showText(item.state === "failed" || item.note ? item.note : "Looking …");
  try {
    const [bitmap, result] = look() ? [(await hiddenPicture(item)).bitmap, null] : [await item.bitmap(), pictures.shown(item)];
    const number = marked?.picture === item.id ? marked.number : null;
    if (now === turn) viewer.show(item.name, bitmap, result, { ...switches.options, chosen: number });
  } catch (error) {
    if (now === turn) viewer.showText(`The picture cannot be shown: ${error.message}`);
  }
}

const hiddenPicture = (item) => hidden.get(item, pictures.choice, look());

/* Saving */

byId("save-json").addEventListener("click", () => {
  const text = JSON.stringify({ results: pictures.results() }, null, 2);
  save(new Blob([text], { type: "application/json" }), "facepipe.json");
});
byId("save-csv").addEventListener("click", () => {
  const attributes = versions.classifiers.flatMap((each) => each.attributes);
  save(new Blob([csv(pictures.results(), attributes, pictures.choice.models)], { type: "text/csv" }), "facepipe.csv");
});
byId("save-picture").addEventListener("click", async () => {
  const item = pictures.selected;
  try {
    if (look()) return save((await hiddenPicture(item)).blob, `${stem(item.name)}-hidden.jpg`);
    const result = pictures.shown(item);
    const width = result.width * enlarged(result.width, result.height);
    const letter = Math.max(10, Math.round(Math.max(width, (width * result.height) / result.width) / 85));
    const canvas = document.createElement("canvas");
    annotated(canvas, await item.bitmap(), result, width, letter, switches.options);
    save(await jpeg(canvas), `${stem(item.name)}-faces.jpg`);
  } catch (error) {
    alarm(error.message);
  }
});

pictures.addEventListener("change", soon);
start();
