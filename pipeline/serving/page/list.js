/** The list of pictures: a small copy, the name, and how it stands with each. */

import { element } from "./element.js";
import { counted } from "./words.js";

const STATES = { waiting: "waits", asking: "is looked at …" };

/** How it stands with a picture, in words. */
export function inWords(item, shown) {
  if (item.state !== "done") return item.note || STATES[item.state];
  return [counted(shown.faces.length, "face"), ...(item.note ? [item.note] : [])].join("; ");
}

/**
 * Show the list anew. What has the focus keeps it, or hands it on to what stands in its place.
 *
 * @param {HTMLElement} list
 * @param {object} pictures of the page.
 */
export function showList(list, pictures) {
  const buttons = () => [...list.querySelectorAll("button")];
  const place = buttons().indexOf(document.activeElement);
  const kept = document.activeElement?.dataset.keep;
  list.replaceChildren(...pictures.items.map((item) => entry(item, pictures)));
  if (place < 0) return;
  const now = buttons();
  const next = now.find(({ dataset }) => dataset.keep === kept) ?? now[place] ?? now.at(-1);
  (next ?? document.querySelector("#choose")).focus();
}

function entry(item, pictures) {
  const state = inWords(item, pictures.shown(item));
  const pick = element(
    "button",
    { type: "button", className: "pick", data: { keep: `pick ${item.id}` }, aria: { current: item === pictures.selected } },
    element("span", { className: "thumb" }, ...(item.thumb ? [item.thumb] : [])),
    element(
      "span",
      { className: "words" },
      element("span", { className: "name", title: item.name }, item.name),
      element("span", { className: "state" }, state),
    ),
  );
  pick.addEventListener("click", () => pictures.select(item));
  const remove = element(
    "button",
    { type: "button", className: "remove", data: { keep: `remove ${item.id}` }, aria: { label: `remove ${item.name}` } },
    "✕",
  );
  remove.addEventListener("click", () => pictures.remove(item));
  return element("li", { className: item.state === "failed" ? "failed" : "" }, pick, remove);
}
