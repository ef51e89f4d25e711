// The page: a photo to a question, an answer to cards. Nothing is kept when it is closed.
//
// One question runs at a time; another one ends it. `sources` give photos, `box` and `filters` say
// what of them and among what, `asking` asks, `answers` shows.
// SPDX-License-Identifier: Apache-2.0

import { Answers, isUnknown } from "/answers.js";
import { Catalogue, Trouble } from "/asking.js";
import { Box } from "/box.js";
import { byId } from "/elements.js";
import { Filters } from "/filters.js";
import { photoOf } from "/photos.js";
import { listen } from "/sources.js";
import { FIXED, SAID, bandIn } from "/texts.js";

const PAUSE_MS = 350; // an edge that is moved by keys is moved several times

class Page {
  #catalogue = null;
  #facts = null;
  #photo = null;
  #like = null; // the product whose likes are looked at in place of the photo's matches
  #found = null; // for the photo, as long as nothing has changed
  #files = 0;
  #question = new AbortController();
  #timer = 0;

  constructor() {
    this.box = new Box(() => this.#changeBox());
    this.filters = new Filters(() => this.#changeFilters());
    this.answers = new Answers({
      again: () => this.#ask(),
      unfilter: () => this.filters.clear(),
      only: (category) => this.filters.choose(category),
      more: (product) => this.#goTo({ id: product.id, title: product.title || product.id }),
    });
    byId("back").addEventListener("click", () => history.back());
    addEventListener("popstate", ({ state }) => this.#see(state?.like ?? null));
    addEventListener("online", () => this.answers.isCutOff && this.#ask());
    history.replaceState(null, "");
    this.#ask();
  }

  /** A picture that somebody gives. */
  async take(file) {
    const number = ++this.#files;
    this.refuse("");
    this.answers.tell(SAID.opening);
    let photo;
    try {
      photo = await photoOf(file);
    } catch {
      if (number === this.#files) this.refuse(SAID.notOpened);
      return;
    }
    if (number === this.#files) this.#begin(photo);
  }

  /** Says why something is no photo; "" for nothing. */
  refuse(text) {
    byId("notice").textContent = text;
    if (text) this.answers.tell("");
  }

  #begin(photo) {
    const shown = byId("photo");
    URL.revokeObjectURL(shown.src);
    shown.src = URL.createObjectURL(photo.blob);
    shown.alt = FIXED.yourPhoto;
    this.#photo = photo;
    this.box.begin(photo);
    byId("likely-part").hidden = true;
    document.body.classList.add("has-photo");
    for (const id of ["shown", "filters-part", "found"]) byId(id).hidden = false;
    if (this.#like) history.replaceState(null, "");
    this.#like = this.#found = null;
    this.#ask();
  }

  #changeBox() {
    this.#found = null;
    clearTimeout(this.#timer);
    if (this.#like) history.back(); // the photo is meant again
    else this.#timer = setTimeout(() => this.#ask(), PAUSE_MS);
  }

  #changeFilters() {
    this.#found = null;
    this.#ask();
  }

  #goTo(like) {
    history.pushState({ like }, "");
    this.#see(like);
  }

  async #see(like) {
    const left = this.#like;
    this.#like = like;
    if (!like && this.#found) {
      this.#question.abort();
      this.answers.show(this.#found, this.#showing);
    } else await this.#ask();
    if (!byId("stage").contains(document.activeElement)) this.answers.focus(like ? null : left?.id);
  }

  /** Asks for what is to be seen, and shows what comes of it. */
  async #ask() {
    clearTimeout(this.#timer);
    this.#question.abort();
    this.#question = new AbortController();
    const { signal } = this.#question;
    const [photo, like] = [this.#photo, this.#like];
    if (photo) this.answers.wait();
    try {
      await this.#know(signal);
      if (!photo) return this.answers.clear();
      const wanted = this.filters.wanted;
      const found = like
        ? await this.#catalogue.similar(like.id, wanted, signal)
        : await this.#catalogue.search(photo, this.box.pixels, wanted, signal);
      if (!like) this.#found = found;
      this.answers.show(found, this.#showing);
      if (!like && isUnknown(found)) this.#appraise(found, wanted, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Trouble)) throw error;
      this.answers.fail(error);
    }
  }

  /** Says what such things cost, once that is known; an answer is one without it. */
  async #appraise(found, wanted, signal) {
    try {
      const estimate = await this.#catalogue.estimate(this.#photo, this.box.pixels, wanted, signal);
      const isWorthIt = estimate.fitted_on > 0 && estimate.band && estimate.band.low !== estimate.band.high;
      if (!isWorthIt) return;
      found.band = bandIn(estimate);
      if (!this.#like) this.answers.add(found.band);
    } catch (error) {
      if (!signal.aborted && !(error instanceof Trouble)) throw error;
    }
  }

  get #showing() {
    return {
      like: this.#like,
      isFiltered: !this.filters.isEmpty,
      category: this.filters.wanted.category ?? null,
      picture: (image) => this.#catalogue.picture(image),
    };
  }

  /** Learns once which catalogue this is, and what it has. */
  async #know(signal) {
    if (this.#facts) return;
    this.#catalogue ??= await Catalogue.shown(signal);
    this.#facts = await this.#catalogue.facts(signal);
    this.filters.offer(this.#facts.categories);
    this.answers.hasCategories = this.#facts.categories.length > 1;
    byId("facts").textContent = SAID.facts(this.#facts.products, this.#facts.as_of);
  }
}

for (const each of document.querySelectorAll("[data-text]")) each.textContent = FIXED[each.dataset.text];
byId("filters-part").open = matchMedia("(min-width: 60rem)").matches;
const page = new Page();
await listen((file) => page.take(file), (text) => page.refuse(text));
byId("main").hidden = byId("footer").hidden = false;
