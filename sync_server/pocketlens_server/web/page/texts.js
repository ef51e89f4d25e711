// Every text of the page, and how numbers, prices and times are said in the shopper's locale.
// To translate the page, translate this file and set `lang` in index.html.
// SPDX-License-Identifier: Apache-2.0

const LOCALES = navigator.languages;
const COUNT = new Intl.NumberFormat(LOCALES);
const SHARE = new Intl.NumberFormat(LOCALES, { style: "percent", maximumFractionDigits: 0 });
const DAY = new Intl.DateTimeFormat(LOCALES, { dateStyle: "medium" });
const VERY_SURE = 0.95;
const FEW = 3; // so many left are worth a word
const WIDE = 10; // times its lowest price: wider than any band that docs/estimates.md measures

/** Texts of index.html, by their `data-text`. */
export const FIXED = {
  title: "Find it with a photo",
  lead: "Show us a thing. We look whether this shop has it.",
  take: "Take a photo",
  choose: "Choose a photo",
  orDrop: "You can drop a photo here, too, or paste one.",
  yourPhoto: "Your photo",
  boxHelp: "Tap the thing, or drag the corners around it.",
  boxKeys: "Arrow keys move an edge. With Shift they move the whole box.",
  whole: "Whole photo",
  filters: "Filters",
  category: "Category",
  allCategories: "All categories",
  price: "Price",
  from: "from",
  to: "to",
  inStock: "In stock only",
  clear: "Clear filters",
  likelyHelp: "Shows only this category, or all again.",
  back: "Back to your photo",
  again: "Try again",
  drop: "Drop the photo",
  camera: "Camera",
  shutter: "Take the photo",
  close: "Close",
  kept: "Your photo is looked at and not kept. The place and time in it stay on your device.",
};

export const SAID = {
  box: "The part of the photo that is searched",
  edges: { left: "Left edge", top: "Top edge", right: "Right edge", bottom: "Bottom edge" },
  edgeAt: (share) => `at ${SHARE.format(share)} of the photo`,
  filtersOn: (count) => `(${count} on)`,
  opening: "Opening the photo …",
  looking: "Looking …",
  stillLooking: "Still looking …",
  found: "Found it",
  maybe: "It may be one of these",
  notHere: "Not in this shop",
  blank: "Your photo shows nothing",
  blankMore: "It is of one colour. Show us a thing. What the shop has of this colour:",
  nothingHere: "This shop has no products yet",
  nothingInFilter: "No product fits your filters",
  hidden: "Found it, but your filters hide it",
  hiddenMore: (title) => `It looks like ${title}. Below is the closest of what fits your filters.`,
  hiddenAlone: (title) => `It looks like ${title}.`,
  clearAll: "Show it without filters",
  likely: ({ category, probability }) => `Probably ${category}: ${SHARE.format(probability)}`,
  best: "Best match",
  like: (title) => `More like ${title}`,
  likeNone: "Nothing else looks like it.",
  more: "More like this",
  moreOf: (title) => `More like ${title}`,
  same: (titles) => `Looks the same: ${titles.join(", ")}`,
  alike: (similarity) => `${SHARE.format(clamped(similarity))} alike`,
  shown: (count) => (count === 1 ? "1 product is shown." : `${COUNT.format(count)} products are shown.`),
  facts: (count, asOf) => `${count === 1 ? "1 product" : `${COUNT.format(count)} products`}\u00a0· ${DAY.format(new Date(asOf))}`,
  noPicture: "No picture",
  notPrice: "Write a price as a number, such as 12.50.",
  wrongWay: "The lowest price is above the highest.",
  notPhoto: "That is no photo. Pictures such as JPEG, PNG or WebP work.",
  notOpened: "This browser cannot open that picture. Try a JPEG or PNG, or take a photo.",
  noCamera: "The camera cannot be used. Allow it for this page, or choose a photo instead.",
};

/** What went wrong, by the kind of `Trouble`: a heading, and what to do. */
export const TROUBLES = {
  offline: ["You are offline", "The page goes on by itself when you are connected again."],
  unreachable: ["The shop cannot be reached", "Look at your connection, and try again."],
  busy: ["Many are asking right now", "You can try again in a moment."],
  late: ["That took too long", "The shop is slow just now. Try again."],
  photo: ["The shop cannot use this photo", "Try another one, or another part of it."],
  tooLarge: ["This photo is too large", "Try another one."],
  missing: ["There is nothing to see here", "The shop may have changed. Load the page again."],
  refused: ["The shop did not let this page in", "Allow its cookies, and load it again."],
  broken: ["Something went wrong in the shop", "It is not your photo. Try again in a while."],
};

export const waiting = (seconds) => `You can try again in ${COUNT.format(seconds)} s.`;

/** Heading and sentence for the verdict of an answer. */
export function verdictIn({ verdict, confidence, is_blank }) {
  if (is_blank) return [SAID.blank, SAID.blankMore];
  const number = confidence === null ? null : SHARE.format(confidence);
  if (verdict === "match") {
    if (number === null) return [SAID.found, ""];
    const word = confidence >= VERY_SURE ? "very sure" : "quite sure";
    return [SAID.found, `We are ${word}: ${number}.`];
  }
  if (verdict === "no_match") {
    const chance = number === null ? "." : `; we give the first a chance of ${number}.`;
    return [SAID.notHere, `The shop does not seem to have it. These come closest${chance}`];
  }
  const sure = number === null ? "We cannot say how sure we are." : `We are ${number} sure that it is the first.`;
  return [SAID.maybe, sure];
}

/** @param {{amount: string, currency: string}} price */
export function priceIn({ amount, currency }) {
  return new Intl.NumberFormat(LOCALES, { style: "currency", currency }).format(amount);
}

/**
 * What things like it cost; of prices that lie too far apart no middle is told.
 * @param {{currency: string, band: {low: string, middle: string, high: string}}} estimate
 */
export function bandIn({ currency, band }) {
  const [low, middle, high] = [band.low, band.middle, band.high].map((amount) => priceIn({ amount, currency }));
  if (Number(band.high) > WIDE * Number(band.low))
    return `Things like it go from ${low} to ${high}, too far apart to say what this one costs.`;
  return `Things like it: about ${middle}, four of five from ${low} to ${high}.`;
}

/** A word for what is left, and how it is shown. */
export function stockIn(stock) {
  if (stock === 0) return ["Sold out", "none"];
  if (stock === 1) return ["Last one", "few"];
  if (stock <= FEW) return [`Last ${stock}`, "few"];
  return ["In stock", "many"];
}

const clamped = (share) => Math.min(1, Math.max(0, share));
