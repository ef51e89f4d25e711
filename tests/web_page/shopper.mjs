// A shopper with a browser on the page: what tests of it begin with, and look at.
//
//     const shopper = await Shopper.arrive({ isPhone: true });
//     await shopper.choose("known.jpg");
//     await shopper.leave();
//
// Of the environment: PAGE (address), CHROMIUM (path), SHOP (folder with shop.json and photos).
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { PAGE, CHROMIUM, SHOP } = process.env;
export const SHOPS = JSON.parse(readFileSync(join(SHOP, "shop.json"), "utf8"));
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const DESKTOP = { viewport: { width: 1280, height: 860 } };
const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

const browsers = {}; // without a camera, and with one

/** Ends all browsers. */
export async function goHome() {
  for (const each of Object.values(browsers)) await (await each).close();
}

export class Shopper {
  /** @param {{isPhone?: boolean, hasCamera?: boolean, options?: object}} having */
  static async arrive({ isPhone = false, hasCamera = false, options = {} } = {}) {
    const args = hasCamera ? [...FLAGS, ...CAMERA] : FLAGS;
    browsers[hasCamera] ??= chromium.launch({ executablePath: CHROMIUM, args });
    const browser = await browsers[hasCamera];
    const context = await browser.newContext({ ...(isPhone ? PHONE : DESKTOP), locale: "en-IE", ...options });
    const shopper = new Shopper(context, await context.newPage());
    await shopper.page.addInitScript(() => {
      window.jumps = 0;
      let asked = -Infinity; // a photo that is given makes another page of this one, as it should
      const watching = new MutationObserver(() => (asked = performance.now()));
      document.addEventListener("DOMContentLoaded", () => watching.observe(document.body, { attributes: true }));
      const isMeant = (each) => each.hadRecentInput || (each.startTime > asked - 50 && each.startTime < asked + 500);
      const seen = (list) => {
        for (const each of list.getEntries()) window.jumps += isMeant(each) ? 0 : each.value;
      };
      new PerformanceObserver(seen).observe({ type: "layout-shift", buffered: true });
    });
    await shopper.page.goto(PAGE);
    await shopper.page.locator("#facts", { hasText: "products" }).waitFor();
    return shopper;
  }

  constructor(context, page) {
    Object.assign(this, { context, page });
    this.addresses = [];
    this.complaints = []; // of the browser, about the page: errors, and what its policy forbids
    this.questions = []; // requests for an answer
    this.isTroubled = false; // a test that breaks the network is told so by the browser as well
    context.on("request", (request) => {
      this.addresses.push(request.url());
      if (/\/(search|similar)\?/.test(request.url())) this.questions.push(request);
    });
    page.on("filechooser", () => {}); // so that Playwright has them from the first one on
    page.on("pageerror", (error) => this.complaints.push(error.stack));
    page.on("console", (message) => {
      const isTold = this.isTroubled && message.text().startsWith("Failed to load resource");
      if (!isTold && ["error", "warning"].includes(message.type())) this.complaints.push(message.text());
    });
  }

  /** Goes, after a look at what no visit may have done. */
  async leave() {
    const sideways = await this.page.evaluate(() => (scrollTo(1000, scrollY), scrollX));
    const jumps = await this.page.evaluate(() => window.jumps);
    await this.context.close();
    const isHere = (each) => each.startsWith(`${PAGE}/`) || /^(blob|data):/.test(each);
    const elsewhere = this.addresses.filter((each) => !isHere(each));
    assert.deepEqual(elsewhere, [], "a request left the origin");
    assert.deepEqual(this.complaints, []);
    assert.equal(sideways, 0, "the page scrolls sideways");
    // A sentence may need another line than the one before; no more than that.
    assert.ok(jumps < 0.02, `things jumped: ${jumps}`);
  }

  photo(name) {
    return join(SHOP, "photos", name);
  }

  /** Chooses a photo with the button, and waits for the answer. */
  async choose(name, button = "Choose a photo") {
    const [chooser] = await Promise.all([
      this.page.waitForEvent("filechooser"),
      this.page.getByRole("button", { name: button }).click(),
    ]);
    await this.answered(() => chooser.setFiles(this.photo(name)));
    return chooser;
  }

  /** Waits for the answer to what is done; gives the address of the question. */
  async answered(done) {
    const [response] = await Promise.all([
      this.page.waitForResponse((each) => /\/(search|similar)\?/.test(each.url())),
      done(),
    ]);
    await this.page.locator("#found[aria-busy=false]").waitFor();
    return new URL(response.url());
  }

  /** A photo as something to drop or paste. */
  async carried(name, type) {
    const bytes = readFileSync(this.photo(name)).toString("base64");
    return this.page.evaluateHandle(
      ([base64, fileName, mediaType]) => {
        const data = new DataTransfer();
        const file = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
        data.items.add(new File([file], fileName, { type: mediaType }));
        return data;
      },
      [bytes, name, type],
    );
  }

  async drop(name, type) {
    const dataTransfer = await this.carried(name, type);
    await this.page.dispatchEvent("body", "dragover", { dataTransfer });
    await this.page.dispatchEvent("body", "drop", { dataTransfer });
  }

  async paste(name, type) {
    const carried = await this.carried(name, type);
    await this.page.evaluate((clipboardData) => {
      const event = new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }, carried);
  }

  /** Presses a key as often as it takes to come to a place; fails after a hundred times. */
  async tabTo(locator, key = "Tab") {
    for (let pressed = 0; pressed < 100; pressed++) {
      if (await locator.evaluate((each) => each === document.activeElement)) return;
      await this.page.keyboard.press(key);
    }
    assert.fail(`no key leads to ${locator}`);
  }

  get verdict() {
    return this.page.locator("#verdict");
  }

  get cards() {
    return this.page.locator("#matches > li");
  }

  /** Titles of the cards, in order. */
  titles() {
    return this.cards.locator("h3").allTextContents();
  }
}
