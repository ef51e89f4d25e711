// What the page promises. Run by test_page.py, which makes the shop and its photos.
// SPDX-License-Identifier: Apache-2.0

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { flaws } from "./flaws.mjs";
import { SHOPS, Shopper, goHome } from "./shopper.mjs";

const LIMIT_MS = 60_000;

after(goHome);

/** A test with a shopper, who goes at its end. */
function promise(name, having, does) {
  test(name, { timeout: LIMIT_MS }, async (context) => {
    const shopper = await Shopper.arrive(having);
    context.after(() => shopper.context.close());
    await does(shopper, shopper.page);
    await shopper.leave();
  });
}

/** The size that a JPEG says it has. */
function sizeOf(jpeg) {
  for (let at = 2; at < jpeg.length; at += 2 + jpeg.readUInt16BE(at + 2)) {
    const marker = jpeg.readUInt16BE(at);
    if (marker >= 0xffc0 && marker <= 0xffc2) return [jpeg.readUInt16BE(at + 7), jpeg.readUInt16BE(at + 5)];
  }
  return null;
}

promise("a photo finds its product, and the page says how sure it is", {}, async (shopper, page) => {
  await shopper.choose("known.jpg");

  assert.equal(await shopper.verdict.textContent(), "Found it");
  assert.match(await page.locator("#sure").textContent(), /^We are (quite|very) sure: \d+%\.$/);
  const best = shopper.cards.first();
  assert.equal(await best.getByRole("heading").textContent(), SHOPS.product);
  assert.match(await best.textContent(), /^Best match.*€\d+\.\d\d.*(In stock|Last|Sold out).*\d+% alike/s);
  assert.ok(await best.locator("img").evaluate(async (each) => (await each.decode(), each.naturalWidth > 0)));
  assert.match(await best.getByRole("link").getAttribute("href"), /^https:\/\/shop\.example\//);
  const said = new RegExp(`^Found it\\. ${SHOPS.product}\\. .* products are shown\\.$`);
  assert.match(await page.getByRole("status").textContent(), said);
  assert.match(await page.locator("#facts").textContent(), new RegExp(`^${SHOPS.products} products\\s· `));
});

const readable = { options: { bypassCSP: true } }; // the page itself may not read what it shows

promise("what is sent is upright, small, and nothing but the picture", readable, async (shopper, page) => {
  await shopper.choose("known.jpg");

  // The browser does not tell what it sent, but how much; what it shows can be read.
  const shown = await page.evaluate(async () => {
    const photo = await fetch(document.querySelector("#photo").src);
    return [...new Uint8Array(await photo.arrayBuffer())];
  });
  const sent = Buffer.from(shown);
  const headers = await shopper.questions[0].allHeaders();
  assert.equal(headers["content-length"], String(sent.length));
  assert.equal(headers["content-type"], "image/jpeg");
  assert.deepEqual(sizeOf(sent), [1600, 1600]);
  assert.ok(sent.length < 1_000_000);
  assert.equal(sent.indexOf("Exif"), -1);
  assert.equal(sent.indexOf(SHOPS.secret), -1);
});

promise("a photo of one colour is told to show nothing", {}, async (shopper, page) => {
  await shopper.choose("blank.jpg");

  assert.equal(await shopper.verdict.textContent(), "Your photo shows nothing");
  assert.match(await page.locator("#sure").textContent(), /^It is of one colour\. Show us a thing\./);
  assert.doesNotMatch(await shopper.cards.first().textContent(), /Best match/);
});

promise("a box around one of two things finds that one", {}, async (shopper, page) => {
  await shopper.choose("two.jpg");
  assert.notEqual(await shopper.verdict.textContent(), "Found it");
  assert.equal(new URL(shopper.questions[0].url()).searchParams.get("box"), null);
  const { x, y, width, height } = await page.locator("#stage").boundingBox();

  const question = await shopper.answered(async () => {
    await page.mouse.move(x + 0.375 * width, y + 0.5 * height);
    await page.mouse.down();
    await page.mouse.move(x + 0.2 * width, y + 0.3 * height);
    await page.mouse.move(x + 1, y + 1);
    await page.mouse.up();
  });
  const box = question.searchParams.get("box").split(",").map(Number);
  [0, 0, 600, 600].forEach((each, place) => assert.ok(Math.abs(box[place] - each) < 16, `${box}`));
  assert.equal(await shopper.verdict.textContent(), "Found it");
  assert.equal((await shopper.titles())[0], SHOPS.product);

  await shopper.answered(async () => {
    await page.mouse.move(x + 0.2 * width, y + 0.25 * height);
    await page.mouse.down();
    await page.mouse.move(x + 0.9 * width, y + 0.9 * height, { steps: 3 });
    await page.mouse.up();
  });
  assert.equal((await shopper.titles())[0], SHOPS.otherProduct);

  const whole = await shopper.answered(() => page.getByRole("button", { name: "Whole photo" }).click());
  assert.equal(whole.searchParams.get("box"), null);
});

promise("a finger taps the thing, and pulls a corner", { isPhone: true }, async (shopper, page) => {
  const chooser = await shopper.choose("two.jpg", "Take a photo");
  assert.equal(await chooser.element().getAttribute("capture"), "environment");
  const { x, y, width, height } = await page.locator("#stage").boundingBox();

  const tapped = await shopper.answered(() => page.touchscreen.tap(x + 0.2 * width, y + 0.25 * height));
  const box = tapped.searchParams.get("box").split(",").map(Number);
  [20, 0, 620, 600].forEach((each, place) => assert.ok(Math.abs(box[place] - each) < 16, `${box}`));
  assert.equal((await shopper.titles())[0], SHOPS.product);

  const touch = await page.context().newCDPSession(page);
  const at = (share) => [{ x: x + share * width, y: y + share * height }];
  const corner = await page.locator(".corner.right.bottom").boundingBox();
  const pulled = await shopper.answered(async () => {
    const start = [{ x: corner.x + corner.width / 2, y: corner.y + corner.height / 2 }];
    await touch.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints: start });
    await touch.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: at(0.7) });
    await touch.send("Input.dispatchTouchEvent", { type: "touchMove", touchPoints: at(0.9) });
    await touch.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  });
  const [, , right, bottom] = pulled.searchParams.get("box").split(",").map(Number);
  assert.ok(right > 1300 && bottom > 900, pulled.search);
});

promise("keys alone do it all", {}, async (shopper, page) => {
  const choose = page.getByRole("button", { name: "Choose a photo" });
  await shopper.tabTo(choose);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.keyboard.press("Enter")]);
  await shopper.answered(() => chooser.setFiles(shopper.photo("two.jpg")));

  const right = page.getByRole("slider", { name: "Right edge" });
  await shopper.tabTo(right, "Shift+Tab");
  assert.equal(await right.getAttribute("aria-valuetext"), "at 100% of the photo");
  const pulled = await shopper.answered(async () => {
    await page.keyboard.press("PageUp");
    await page.keyboard.press("ArrowLeft");
  });
  assert.equal(await right.getAttribute("aria-valuenow"), "88");
  assert.equal(pulled.searchParams.get("box"), "0,0,1408,1200");
  const moved = await shopper.answered(() => page.keyboard.press("Shift+ArrowRight"));
  assert.equal(moved.searchParams.get("box"), "32,0,1440,1200");
  const bottom = page.getByRole("slider", { name: "Bottom edge" });
  await shopper.tabTo(bottom);
  const raised = await shopper.answered(() => page.keyboard.press("Home"));
  assert.equal(raised.searchParams.get("box"), "32,0,1440,120");

  const category = page.getByRole("combobox", { name: "Category" });
  await shopper.tabTo(category);
  await shopper.answered(() => page.keyboard.type(SHOPS.category));
  assert.equal(await category.inputValue(), SHOPS.category);
  await shopper.tabTo(page.getByRole("button", { name: /^More like/ }).first());
  const title = (await shopper.titles())[0];
  await shopper.answered(() => page.keyboard.press("Enter"));
  assert.equal(await shopper.verdict.textContent(), `More like ${title}`);
  assert.ok(await shopper.verdict.evaluate((each) => each === document.activeElement));
  await shopper.tabTo(page.getByRole("button", { name: "Back to your photo" }), "Shift+Tab");
  await page.keyboard.press("Enter");
  const back = page.getByRole("button", { name: `More like ${title}` });
  await page.waitForFunction((each) => each === document.activeElement, await back.elementHandle());
});

promise("the likely category is offered, and shown alone when it is wished", {}, async (shopper, page) => {
  await shopper.choose("known.jpg");
  const chip = page.getByRole("button", { name: `Probably ${SHOPS.category}: ` });

  assert.match(await chip.textContent(), /: \d+%$/);
  assert.equal(await chip.getAttribute("aria-pressed"), "false");
  assert.match(await page.getByRole("status").textContent(), new RegExp(`Probably ${SHOPS.category}: \\d+%\\. `));
  assert.equal(new URL(shopper.questions[0].url()).searchParams.get("category"), null);
  const before = await page.locator("#answer").boundingBox();

  await shopper.tabTo(chip, "Shift+Tab");
  const only = await shopper.answered(() => page.keyboard.press("Enter"));
  assert.equal(only.searchParams.get("category"), SHOPS.category);
  assert.equal(await page.locator("#category").inputValue(), SHOPS.category);
  assert.equal(await page.locator("#filters-on").textContent(), "(1 on)");
  assert.deepEqual(new Set(await page.locator(".category").allTextContents()), new Set([SHOPS.category]));
  assert.equal(await chip.getAttribute("aria-pressed"), "true");
  assert.ok(await chip.evaluate((each) => each === document.activeElement));
  assert.deepEqual(await page.locator("#answer").boundingBox(), before);

  const all = await shopper.answered(() => page.keyboard.press("Space"));
  assert.equal(all.searchParams.get("category"), null);
  assert.equal(await chip.getAttribute("aria-pressed"), "false");
  assert.ok(new Set(await page.locator(".category").allTextContents()).size > 1);

  await shopper.answered(() => shopper.cards.first().getByRole("button").click());
  assert.ok(!(await chip.isVisible()));
});

promise("of what the shop may not have it says what such things cost", {}, async (shopper, page) => {
  await shopper.choose("two.jpg");
  const band = page.locator("#band");
  await band.filter({ hasText: "Things like it" }).waitFor();
  assert.match(
    await band.textContent(),
    /^Things like it(: about €[\d,.]+, four of five| go) from €[\d,.]+ to €[\d,.]+(\.|, too far apart .+\.)$/,
  );
  const said = await band.textContent();

  await shopper.answered(() => shopper.cards.first().getByRole("button").click());
  assert.ok(!(await band.isVisible()));
  await page.getByRole("button", { name: "Back to your photo" }).click();
  assert.equal(await band.textContent(), said);

  await shopper.choose("known.jpg");
  assert.ok(!(await band.isVisible()));
});

promise("filters hold, and say so where they hide the answer", {}, async (shopper, page) => {
  await shopper.choose("known.jpg");
  const category = page.getByRole("combobox", { name: "Category" });

  await shopper.answered(() => category.selectOption(SHOPS.otherCategory));
  assert.equal(await shopper.verdict.textContent(), "Found it, but your filters hide it");
  assert.ok((await page.locator("#sure").textContent()).includes(SHOPS.product));
  const shown = await page.locator(".category").allTextContents();
  assert.deepEqual([...new Set(shown)], [SHOPS.otherCategory]);
  await shopper.answered(() => page.getByRole("button", { name: "Show it without filters" }).click());
  assert.equal(await shopper.verdict.textContent(), "Found it");
  assert.equal(await category.inputValue(), "");

  await shopper.answered(() => page.getByLabel("In stock only").check());
  for (const title of await shopper.titles()) assert.ok(SHOPS.stocks[title] > 0, title);
  await page.getByLabel("from", { exact: true }).fill("12,5O");
  assert.equal(await page.locator("#price-problem").textContent(), "Write a price as a number, such as 12.50.");
  await page.getByLabel("to", { exact: true }).fill("3");
  await page.getByLabel("from", { exact: true }).fill("4,50");
  assert.equal(await page.locator("#price-problem").textContent(), "The lowest price is above the highest.");
  assert.equal(await page.getByLabel("from", { exact: true }).getAttribute("aria-invalid"), "true");
  const priced = await shopper.answered(() => page.getByLabel("to", { exact: true }).fill("90000"));
  assert.equal(priced.searchParams.get("min_price"), "4.50");
  assert.equal(await page.locator("#filters-on").textContent(), "(3 on)");
  await shopper.answered(() => page.getByLabel("from", { exact: true }).fill("80000"));
  assert.equal(await shopper.cards.count(), 0);
  await shopper.answered(() => page.getByRole("button", { name: "Clear filters" }).click());
  assert.equal(await shopper.verdict.textContent(), "Found it");
});

promise("what the shop does not have is told, with what comes closest", {}, async (shopper, page) => {
  await shopper.choose("strange.png");

  assert.equal(await shopper.verdict.textContent(), "Not in this shop");
  assert.match(await page.locator("#sure").textContent(), /These come closest; we give the first a chance of \d+%\./);
  assert.equal(await shopper.cards.count(), 12);
  assert.equal(await page.locator(".badge").count(), 0);
});

promise("what looks like a product is one step away, and back", {}, async (shopper, page) => {
  await shopper.choose("known.jpg");
  const before = await shopper.titles();

  await shopper.answered(() => shopper.cards.nth(1).getByRole("button").click());
  assert.equal(await shopper.verdict.textContent(), `More like ${before[1]}`);
  assert.ok(!(await shopper.titles()).includes(before[1]));
  const asked = shopper.questions.length;
  await page.goBack();
  await shopper.verdict.getByText("Found it").waitFor();
  assert.deepEqual(await shopper.titles(), before);
  assert.equal(shopper.questions.length, asked);

  await shopper.answered(() => shopper.cards.nth(1).getByRole("button").click());
  const boxed = await shopper.answered(() => page.getByRole("slider", { name: "Left edge" }).press("PageDown"));
  assert.equal(boxed.searchParams.get("box"), "160,0,1600,1600");
  assert.ok(await page.getByRole("button", { name: "Back to your photo" }).isHidden());
});

promise("photos are dropped and pasted", {}, async (shopper, page) => {
  await shopper.answered(() => shopper.drop("known.jpg", "image/jpeg"));
  assert.equal((await shopper.titles())[0], SHOPS.product);
  await shopper.answered(() => shopper.paste("strange.png", "image/png"));
  assert.equal(await shopper.verdict.textContent(), "Not in this shop");

  await shopper.drop("notes.txt", "text/plain");
  assert.match(await page.locator("#notice").textContent(), /^That is no photo\./);
  await shopper.paste("damaged.jpg", "image/jpeg");
  await page.getByText("This browser cannot open that picture.").waitFor();
  assert.equal(shopper.questions.length, 2);
});

const filming = { hasCamera: true, options: { permissions: ["camera"] } };

promise("a camera takes the photo", filming, async (shopper, page) => {
  await page.getByRole("button", { name: "Take a photo" }).click();
  const dialog = page.getByRole("dialog", { name: "Camera" });
  await page.waitForFunction(() => document.querySelector("video").videoWidth > 0);
  await shopper.answered(() => dialog.getByRole("button", { name: "Take the photo" }).click());

  assert.ok(await page.locator("#photo").evaluate((each) => each.naturalWidth > 0));
  assert.equal(await page.evaluate(() => document.querySelector("video").srcObject), null);
  await page.getByRole("button", { name: "Take a photo" }).click();
  await dialog.getByRole("button", { name: "Close" }).click();
  await dialog.waitFor({ state: "hidden" });
  assert.equal(shopper.questions.length, 1);
});

promise("a network that goes is told, and the page goes on when it comes back", {}, async (shopper, page) => {
  await shopper.choose("known.jpg");
  shopper.isTroubled = true;

  await shopper.context.setOffline(true);
  await page.getByLabel("In stock only").check();
  await shopper.verdict.getByText("You are offline").waitFor();
  assert.match(await page.getByRole("status").textContent(), /^You are offline\./);
  await shopper.answered(() => shopper.context.setOffline(false));
  await shopper.verdict.getByText("Found it").waitFor();

  await page.route("**/search?*", (route) => route.abort());
  await page.getByLabel("In stock only").uncheck();
  await shopper.verdict.getByText("The shop cannot be reached").waitFor();
  await page.unroute("**/search?*");
  await shopper.answered(() => page.getByRole("button", { name: "Try again" }).click());
  assert.equal(await shopper.verdict.textContent(), "Found it");
});

promise("what is no answer is told, and the keys stay where they were", {}, async (shopper, page) => {
  await shopper.choose("known.jpg");
  const isAtVerdict = () => shopper.verdict.evaluate((each) => each === document.activeElement);

  const login = { status: 200, contentType: "text/html", body: "<p>Who are you?</p>" };
  await page.route("**/search?*", (route) => route.fulfill(login));
  await page.getByLabel("In stock only").check();
  await shopper.verdict.getByText("Something went wrong in the shop").waitFor();
  await page.unroute("**/search?*");
  await shopper.answered(() => page.getByRole("button", { name: "Try again" }).press("Enter"));
  assert.equal(await shopper.verdict.textContent(), "Found it");
  assert.ok(await isAtVerdict());

  await shopper.answered(() => page.getByRole("button", { name: "Clear filters" }).press("Enter"));
  const category = page.getByRole("combobox", { name: "Category" });
  assert.ok(await category.evaluate((each) => each === document.activeElement));
  await shopper.answered(() => category.selectOption(SHOPS.otherCategory));
  await shopper.answered(() => page.getByRole("button", { name: "Show it without filters" }).press("Enter"));
  assert.ok(await isAtVerdict());
});

promise("an answer is seen by who asks for it from far down", {}, async (shopper, page) => {
  await shopper.choose("known.jpg");
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));

  await shopper.answered(() => page.getByLabel("In stock only").check());

  const { y } = await shopper.verdict.boundingBox();
  assert.ok(y >= 0 && y < 860, `${y}`);
});

promise("who asks too often is asked to wait", {}, async (shopper, page) => {
  await shopper.choose("known.jpg");
  shopper.isTroubled = true;

  // Another window of the same visitor takes every turn that there is.
  await page.evaluate(async () => {
    const path = document.querySelector("#matches img").src.replace(/images\/.*/, "products/none/similar?k=1");
    window.isCrowded = true;
    while ((await fetch(path)).status !== 429);
    (async () => {
      while (window.isCrowded) await fetch(path);
    })();
  });
  await page.getByLabel("In stock only").check();
  await page.waitForFunction(() => {
    const text = document.querySelector("#sure").textContent;
    return /^You can try again in \d+ s\.$/.test(text) && document.querySelector("#again").disabled;
  });
  assert.equal(await shopper.verdict.textContent(), "Many are asking right now");
  await page.evaluate(() => (window.isCrowded = false));
  while ((await shopper.verdict.textContent()) !== "Found it") {
    await page.locator("#again:enabled").waitFor();
    await shopper.answered(() => page.getByRole("button", { name: "Try again" }).click());
  }
});

promise("a page that was open for long is known again", {}, async (shopper) => {
  await shopper.context.clearCookies();
  shopper.isTroubled = true;

  await shopper.choose("known.jpg");

  await shopper.verdict.getByText("Found it").waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  const calm = { options: { colorScheme, reducedMotion: "reduce" } };

  promise(`nothing keeps anybody out, in ${colorScheme}`, calm, async (shopper, page) => {
    assert.deepEqual(await page.evaluate(flaws), []);
    for (const name of ["known.jpg", "two.jpg", "strange.png"]) {
      await shopper.choose(name);
      assert.deepEqual(await page.evaluate(flaws), [], name);
    }
    await shopper.answered(() => shopper.cards.first().getByRole("button").click());
    assert.deepEqual(await page.evaluate(flaws), []);
    await page.getByLabel("from", { exact: true }).fill("x");
    await shopper.paste("damaged.jpg", "image/jpeg");
    await page.locator("#notice:not(:empty)").waitFor();
    assert.deepEqual(await page.evaluate(flaws), []);
    const moves = await page.evaluate(() => document.getAnimations().length);
    assert.equal(moves, 0);
  });
}

for (const width of [320, 360, 768]) {
  const holding = { isPhone: true, options: { viewport: { width, height: 740 } } };

  promise(`a screen of ${width} pixels holds all of it`, holding, async (shopper, page) => {
    for (const name of [null, "known.jpg", "strange.png"]) {
      if (name !== null) await shopper.choose(name);
      const wide = await page.evaluate((most) => {
        const isWide = (each) => each.getBoundingClientRect().right > most + 0.5;
        const all = [...document.querySelectorAll("body *:not(.shade)")];
        return all.filter(isWide).map((each) => each.outerHTML.slice(0, 80));
      }, width);
      assert.deepEqual(wide, []);
    }
  });
}
