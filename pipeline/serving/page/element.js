/** Elements made in one expression. Text is always put in as text, never as markup, whoever it came from. */

/**
 * @param {string} name of the tag.
 * @param {object} [properties] of the element, `className` say; `aria` and `data` are objects of their own.
 * @param {...(Node|string)} children
 */
export function element(name, { aria = {}, data = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  for (const [key, value] of Object.entries(aria)) made.setAttribute(`aria-${key}`, value);
  Object.assign(made.dataset, data);
  made.append(...children);
  return made;
}

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);
