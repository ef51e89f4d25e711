// What is shown of an answer: a verdict in words, cards, or what went wrong; and said to who cannot see it.
// SPDX-License-Identifier: Apache-2.0

import { blanks, card } from "/cards.js";
import { byId } from "/elements.js";
import { SAID, TROUBLES, verdictIn, waiting } from "/texts.js";

const BLANKS = 6;
const LONG_MS = 4000; // a wait that is worth another word
const LIKELY = 0.5; // from where a category is worth offering
const CUT_OFF = ["offline", "unreachable"];

export class Answers {
  /** Whether there is more than one category to be of. */
  hasCategories = false;
  #trouble = null;
  #timer = 0;

  /**
   * @param {{again: () => void, unfilter: () => void, only: (category: string) => void,
   *     more: (product: object) => void}} wishes
   *     Called when somebody asks again, without filters, within a category or again in all, or for
   *     what looks like a product.
   */
  constructor(wishes) {
    this.wishes = wishes;
    this.section = byId("found");
    this.list = byId("matches");
    byId("again").addEventListener("click", wishes.again);
    byId("unfilter").addEventListener("click", wishes.unfilter);
    byId("likely").addEventListener("click", ({ target }) => wishes.only(target.dataset.category));
  }

  /** Whether the shop could not be reached the last time. */
  get isCutOff() {
    return this.#trouble !== null && CUT_OFF.includes(this.#trouble.kind);
  }

  /** Says something to who listens rather than looks. */
  tell(text) {
    byId("status").textContent = text;
  }

  /** Shows that an answer is on its way; cards stay where they are, so that nothing jumps. */
  wait() {
    this.#begin();
    this.section.setAttribute("aria-busy", "true");
    if (!this.list.childElementCount) {
      this.#head("waiting", SAID.looking, "");
      this.list.replaceChildren(...blanks(BLANKS));
    }
    this.tell(SAID.looking);
    this.#timer = setTimeout(() => this.tell(SAID.stillLooking), LONG_MS);
  }

  /** Shows nothing. */
  clear() {
    this.#begin();
    this.section.hidden = true;
  }

  /**
   * @param {object} found As the server says it.
   * @param {{like: object | null, isFiltered: boolean, category: string | null,
   *     picture: (image: object) => string}} showing
   *     The product that was asked about rather than the photo, whether only some of the
   *     catalogue was asked for, of which category, and where pictures are.
   */
  show(found, { like, isFiltered, category, picture }) {
    this.#begin();
    const isHidden = !like && isFiltered && found.verdict === "match" && !found.best_is_in_filter;
    const isBest = !like && found.verdict === "match" && found.best_is_in_filter;
    const [heading, text] = words(found, like, isFiltered, isHidden);
    this.#head(like ? "like" : isHidden ? "unsure" : found.verdict, heading, text);
    const likely = this.#offer(found.categories[0], category);
    byId("back").hidden = !like;
    byId("band").hidden = Boolean(like) || !isUnknown(found);
    byId("band").textContent = found.band ?? "";
    byId("unfilter").hidden = !isFiltered || !(isHidden || !found.matches.length);
    byId("unfilter").textContent = SAID.clearAll;
    const cards = found.matches.map((match, place) =>
      card(match, picture(match.image), isBest && place === 0, () => this.wishes.more(match.product)),
    );
    this.list.replaceChildren(...cards);
    const { top } = byId("verdict").getBoundingClientRect();
    if (top < 0) byId("verdict").scrollIntoView(); // who asked beside cards far down would not see it
    const best = isBest ? `${found.matches[0].product.title}.` : "";
    this.tell([`${heading}.`, best, text, likely, SAID.shown(cards.length)].filter(Boolean).join(" "));
  }

  /** Adds between which prices things like it are; there is room for that. */
  add(band) {
    byId("band").textContent = band;
  }

  /** @param {import("/asking.js").Trouble} trouble */
  fail(trouble) {
    this.#begin();
    this.#trouble = trouble;
    const [heading, text] = TROUBLES[trouble.kind];
    this.section.hidden = false;
    this.list.replaceChildren();
    this.#offer(undefined, null);
    byId("band").hidden = true;
    this.#head("trouble", heading, text);
    byId("again").hidden = false;
    this.tell(`${heading}. ${text}`);
    this.#countDown(Math.ceil(trouble.seconds), text);
  }

  /** Goes to the heading, or to the card of a product. */
  focus(product) {
    const buttons = [...this.list.querySelectorAll(".more")];
    const button = buttons.find((each) => each.dataset.product === product);
    (button ?? byId("verdict")).focus();
  }

  #begin() {
    clearTimeout(this.#timer);
    this.#trouble = null;
    this.section.setAttribute("aria-busy", "false");
    const buttons = [byId("again"), byId("unfilter")];
    if (buttons.includes(document.activeElement)) byId("verdict").focus(); // who is there would be nowhere
    for (const each of buttons) each.hidden = true;
  }

  #head(kind, heading, text) {
    this.section.dataset.kind = kind;
    byId("verdict").textContent = heading;
    byId("sure").textContent = text;
  }

  /** Offers the category that the photo is probably of, as a button that is down while only that is shown. */
  #offer(likely, chosen) {
    const button = byId("likely");
    const isWorthIt = this.hasCategories && likely !== undefined && likely.probability >= LIKELY;
    if (!isWorthIt && document.activeElement === button) byId("verdict").focus();
    button.hidden = !isWorthIt;
    if (!isWorthIt) return "";
    byId("likely-part").hidden = false; // and then for this photo always, so that nothing jumps
    button.dataset.category = likely.category;
    button.setAttribute("aria-pressed", likely.category === chosen);
    button.textContent = SAID.likely(likely);
    return `${button.textContent}.`;
  }

  #countDown(seconds, text) {
    byId("again").disabled = seconds > 0;
    byId("sure").textContent = seconds > 0 ? waiting(seconds) : text;
    if (seconds > 0) this.#timer = setTimeout(() => this.#countDown(seconds - 1, text), 1000);
  }
}

/** Whether the shop may not have the thing, so that its price is not known, but prices there are. */
export function isUnknown({ verdict, matches }) {
  return verdict !== "match" && matches.some(({ product }) => product.price);
}

/** Heading and sentence for an answer. */
function words(found, like, isFiltered, isHidden) {
  const count = found.matches.length;
  if (like) return [SAID.like(like.title), count ? "" : SAID.likeNone];
  if (isHidden) {
    const title = found.best.product.title || found.best.product.id;
    return [SAID.hidden, count ? SAID.hiddenMore(title) : SAID.hiddenAlone(title)];
  }
  if (!count) return [isFiltered ? SAID.nothingInFilter : SAID.nothingHere, ""];
  return verdictIn(found);
}
