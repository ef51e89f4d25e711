// Elements of the page: found by id, or made of a tag, properties and what is inside.
// SPDX-License-Identifier: Apache-2.0

/** The element of that id; the page has it. */
export const byId = (id) => document.getElementById(id);

/** A new element. Text goes in as text, never as markup; what is null is left out. */
export function element(tag, properties = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...inside.filter((each) => each !== null));
  return made;
}
