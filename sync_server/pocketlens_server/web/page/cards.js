// Matches as cards.
// SPDX-License-Identifier: Apache-2.0

import { element } from "/elements.js";
import { SAID, priceIn, stockIn } from "/texts.js";

const SIDE = 320; // of the server's pictures, at most

/** Where cards will be: as many, as large. */
export function blanks(count) {
  return Array.from({ length: count }, () =>
    element(
      "li",
      { className: "card blank", "aria-hidden": "true" },
      element("div", { className: "picture" }),
      element("div", { className: "about" }),
    ),
  );
}

/**
 * @param {object} match As the server says it.
 * @param {string} address Of its picture.
 * @param {boolean} isBest Whether it is the answer, rather than one of several things.
 * @param {() => void} more Called when somebody wants to see what looks like it.
 */
export function card({ product, image, similarity, alternatives }, address, isBest, more) {
  const title = product.title || product.id;
  const others = alternatives.map((each) => each.title || each.id);
  const like = element("button", { type: "button", className: "more", "aria-label": SAID.moreOf(title) }, SAID.more);
  like.dataset.product = product.id;
  like.addEventListener("click", more);
  return element(
    "li",
    { className: isBest ? "card best" : "card" },
    picture(address, title),
    element(
      "div",
      { className: "about" },
      isBest ? element("p", { className: "badge" }, SAID.best) : null,
      element("h3", {}, titled(title, product.url)),
      said("category", product.category),
      element("p", { className: "facts" }, price(product.price), stock(product.stock)),
      said("alike", SAID.alike(similarity)),
      others.length ? said("same", SAID.same(others)) : null,
      like,
    ),
  );
}

function picture(address, title) {
  const shown = element("img", { src: address, alt: "", width: SIDE, height: SIDE, loading: "lazy" });
  const place = element("div", { className: "picture" }, shown);
  shown.addEventListener("error", () => place.replaceChildren(element("span", {}, SAID.noPicture)));
  return place;
}

/** The title, as a link where the shop has a page for it. */
function titled(title, address) {
  const isPage = URL.canParse(address) && ["https:", "http:"].includes(new URL(address).protocol);
  return isPage ? element("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, title) : title;
}

const said = (className, text) => (text ? element("p", { className }, text) : null);
const price = (found) => (found ? element("span", { className: "price" }, priceIn(found)) : null);

function stock(left) {
  if (left === null) return null;
  const [word, kind] = stockIn(left);
  return element("span", { className: `stock ${kind}` }, word);
}
