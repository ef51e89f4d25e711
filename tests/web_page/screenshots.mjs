// The pictures of docs/page.md, taken of a server that shows the shop of `make demo`.
//
//     PAGE=http://127.0.0.1:8090 CHROMIUM=/usr/bin/chromium node screenshots.mjs OUT KNOWN STRANGE
//
// KNOWN is a photo of something that the shop has, STRANGE of something that it has not.
// SPDX-License-Identifier: Apache-2.0

import { join } from "node:path";
import { chromium } from "playwright-core";

const [out, known, strange] = process.argv.slice(2);
const SCREENS = {
  360: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true },
  1280: { viewport: { width: 1280, height: 860 } },
};
const TAPPED = { x: 0.5, y: 0.5 }; // of the photo
const SEEN = 260; // pixels of the photo that are above its answer on a phone

const { PAGE, CHROMIUM } = process.env;

const browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });
for (const [width, screen] of Object.entries(SCREENS)) {
  const page = await browser.newPage({ ...screen, locale: "en-IE" });
  await page.goto(PAGE);
  const answered = async (does) => {
    await Promise.all([page.waitForResponse(/\/search\?/), does()]);
    await page.locator("#found[aria-busy=false]").waitFor();
    await page.waitForLoadState("networkidle");
    await page.evaluate(() => Promise.all(document.getAnimations().map((each) => each.finished)));
  };
  const shot = (name) => page.screenshot({ path: join(out, `${name}_${width}.png`) });

  await page.locator("#facts", { hasText: "products" }).waitFor();
  await answered(() => page.setInputFiles("#file", known));
  const stage = await page.locator("#stage").boundingBox();
  await answered(() => page.mouse.click(stage.x + TAPPED.x * stage.width, stage.y + TAPPED.y * stage.height));
  if (screen.isMobile) await page.evaluate((y) => scrollTo(0, y), stage.y + stage.height - SEEN);
  await shot("page");
  await page.evaluate(() => scrollTo(0, 0));
  await answered(() => page.setInputFiles("#file", strange));
  await shot("page_no_match");
  await page.close();
}
await browser.close();
