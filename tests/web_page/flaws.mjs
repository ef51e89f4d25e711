// What keeps somebody out of a page: looked for by hand in what is shown. Runs in the page.
// SPDX-License-Identifier: Apache-2.0

/** Sentences, one for each flaw; see WCAG 2.2 at AA. */
export function flaws() {
  const LEAST_CONTRAST = 4.5;
  const LEAST_TARGET = 24;
  const found = [];
  const named = (each) => each.outerHTML.slice(0, 90);
  const isShown = (each) => each.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  const shown = (selector) => [...document.querySelectorAll(selector)].filter(isShown);
  const one = (selector, what) => {
    if (document.querySelectorAll(selector).length !== 1) found.push(`not one ${what}`);
  };

  one("html[lang]", "language");
  one("title", "title");
  one("h1", "first heading");
  one("body > header", "banner");
  one("body > main", "main landmark");
  one("body > footer", "footer");
  one("[role=status]", "place for what is said");

  const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
  for (const id of new Set(ids)) if (ids.filter((each) => each === id).length > 1) found.push(`two of #${id}`);
  for (const each of shown("[aria-labelledby]")) {
    if (!document.getElementById(each.getAttribute("aria-labelledby"))?.textContent) found.push(`no name: ${named(each)}`);
  }
  for (const each of document.querySelectorAll("[aria-describedby]")) {
    if (!ids.includes(each.getAttribute("aria-describedby"))) found.push(`described by nothing: ${named(each)}`);
  }
  for (const each of document.querySelectorAll("img:not([alt])")) found.push(`no alt: ${named(each)}`);
  for (const each of shown("section, fieldset, dialog, [role=group]")) {
    if (!each.matches("[aria-label], [aria-labelledby], fieldset:has(legend)")) found.push(`no name: ${named(each)}`);
  }
  for (const each of shown("button, a[href], input, select, summary, [role=slider]")) {
    const label = each.labels?.[0]?.textContent ?? "";
    const name = each.getAttribute("aria-label") ?? (each.textContent.trim() || label.trim());
    if (!name) found.push(`no name: ${named(each)}`);
    const start = each.textContent.trim().replace(/ this$/, ""); // "More like this", which is said with a name
    if (each.matches("button") && !name.startsWith(start)) found.push(`another name than is read: ${named(each)}`);
    const { width, height } = each.getBoundingClientRect();
    const isInText = each.matches("h3 a, label *");
    if (!isInText && Math.min(width, height) < LEAST_TARGET) found.push(`${width} x ${height}: ${named(each)}`);
  }
  for (const each of shown("ol, ul")) {
    // Safari says nothing of a list without marks that does not say it of itself.
    const isBare = getComputedStyle(each).listStyleType === "none" && !each.matches("[role=list]");
    if (isBare) found.push(`no list: ${named(each)}`);
  }
  let level = 0;
  for (const each of shown("h1, h2, h3")) {
    const next = Number(each.tagName[1]);
    if (level && next > level + 1) found.push(`a heading is left out before ${named(each)}`);
    level = next;
  }

  const numbers = (colour) => {
    const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return [red, green, blue, alpha];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((each, place) => each * a + under[place] * (1 - a));
  const ground = (each) => {
    const own = numbers(getComputedStyle(each).backgroundColor);
    const isRoot = each === document.documentElement;
    return own[3] === 1 ? own.slice(0, 3) : over(own, isRoot ? [255, 255, 255] : ground(each.parentElement));
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((each) => (each / 255 <= 0.04045 ? each / 255 / 12.92 : ((each / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const each = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !isShown(each) || each.closest(".unseen, :disabled, script, option")) continue;
    const under = ground(each);
    const [dark, bright] = [light(over(numbers(getComputedStyle(each).color), under)), light(under)].sort((a, b) => a - b);
    const contrast = (bright + 0.05) / (dark + 0.05);
    if (contrast < LEAST_CONTRAST) found.push(`contrast ${contrast.toFixed(2)}: ${named(each)}`);
  }
  return found;
}
