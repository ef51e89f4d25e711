// The filters: a form to the parameters of a question, and back to none.
// SPDX-License-Identifier: Apache-2.0

import { byId, element } from "/elements.js";
import { SAID } from "/texts.js";

const PRICE = /^\d{1,9}([.,]\d{1,4})?$/;
const PAUSE_MS = 500; // somebody who types a price has not finished at its first digit

export class Filters {
  #timer = 0;
  #changed;

  /** @param {() => void} changed Called a moment after somebody has changed something. */
  constructor(changed) {
    this.#changed = changed;
    this.form = byId("filters");
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => {
      clearTimeout(this.#timer);
      if (this.#check()) this.#timer = setTimeout(changed, PAUSE_MS);
    });
    this.form.addEventListener("reset", () => {
      clearTimeout(this.#timer);
      setTimeout(() => {
        if (document.activeElement === byId("clear")) byId("category").focus(); // it is about to go
        this.#check();
        changed();
      });
    });
  }

  offer(categories) {
    byId("category").append(...categories.map((each) => element("option", { value: each }, each)));
  }

  /** Leaves only a category, or all again if it was that already. */
  choose(category) {
    const select = byId("category");
    if (![...select.options].some((each) => each.value === category)) this.offer([category]); // beyond the first 200
    select.value = select.value === category ? "" : category;
    clearTimeout(this.#timer);
    if (this.#check()) this.#changed();
  }

  clear() {
    this.form.reset();
  }

  get isEmpty() {
    return Object.keys(this.wanted).length === 0;
  }

  /** Parameters of a question. */
  get wanted() {
    const said = new FormData(this.form);
    const found = {};
    for (const name of ["category", "min_price", "max_price"]) {
      const value = said.get(name).trim();
      if (value) found[name] = name === "category" ? value : value.replace(",", ".");
    }
    if (said.has("in_stock")) found.in_stock = "true";
    return found;
  }

  /** Whether all of it can be asked; says what cannot. */
  #check() {
    const prices = [byId("min-price"), byId("max-price")];
    const isWrong = (each) => each.value.trim() !== "" && !PRICE.test(each.value.trim());
    const wrong = prices.filter(isWrong);
    const { min_price: lowest, max_price: highest } = this.wanted;
    const isWrongWay = !wrong.length && lowest && highest && Number(lowest) > Number(highest);
    for (const each of prices) each.setAttribute("aria-invalid", isWrongWay || isWrong(each));
    byId("price-problem").textContent = wrong.length ? SAID.notPrice : isWrongWay ? SAID.wrongWay : "";
    const count = Object.keys(this.wanted).length;
    byId("filters-on").textContent = count ? SAID.filtersOn(count) : "";
    byId("clear").disabled = !count;
    return !wrong.length && !isWrongWay;
  }
}
