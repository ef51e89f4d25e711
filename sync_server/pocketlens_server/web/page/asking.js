// The server, as the page asks it: questions to answers, and whatever fails to a `Trouble`.
// SPDX-License-Identifier: Apache-2.0

const MATCHES = 12;
const WAIT_MS = 30_000;
const KINDS = {
  400: "photo",
  401: "refused",
  403: "refused",
  404: "missing",
  408: "late",
  409: "missing",
  413: "tooLarge",
  415: "photo",
  429: "busy",
  503: "busy",
  504: "late",
};

/** Why there is no answer: `kind` is a key of `TROUBLES`, `seconds` how long to wait at least. */
export class Trouble extends Error {
  constructor(kind, seconds = 0) {
    super(kind);
    this.kind = kind;
    this.seconds = seconds;
  }
}

/** One catalogue of the server that the page came from. Calls end with `signal`. */
export class Catalogue {
  static async shown(signal) {
    const { catalogue } = await asked("/page.json", {}, signal);
    return new Catalogue(catalogue);
  }

  constructor(name) {
    this.path = `/v1/catalogs/${encodeURIComponent(name)}`;
  }

  facts(signal) {
    return asked(this.path, {}, signal);
  }

  /** @param {{blob: Blob}} photo @param {number[] | null} box In pixels of the photo. */
  search(photo, box, filter, signal) {
    const said = new URLSearchParams({ k: MATCHES, auto_category: "tell", ...filter });
    if (box !== null) said.set("box", box.join(","));
    return asked(`${this.path}/search?${said}`, { method: "POST", body: photo.blob }, signal);
  }

  /** What such a thing may sell for. */
  estimate(photo, box, filter, signal) {
    const said = new URLSearchParams(filter);
    if (box !== null) said.set("box", box.join(","));
    return asked(`${this.path}/estimate?${said}`, { method: "POST", body: photo.blob }, signal);
  }

  similar(product, filter, signal) {
    const said = new URLSearchParams({ k: MATCHES, ...filter });
    return asked(`${this.path}/products/${encodeURIComponent(product)}/similar?${said}`, {}, signal);
  }

  /** Where the picture of a match is: nothing is fetched from another site. */
  picture(image) {
    if (image.url.startsWith("data:image/")) return image.url;
    const address = URL.canParse(image.url) ? new URL(image.url) : null;
    if (address?.origin === location.origin) return address.href;
    return `${this.path}/images/${encodeURIComponent(image.id)}/thumbnail`;
  }
}

async function asked(path, request, signal) {
  let response = await answered(path, request, signal);
  if (response.status === 401) {
    await answered("/", { cache: "no-store" }, signal); // the cookie was of yesterday, or of another start
    response = await answered(path, request, signal);
  }
  if (response.ok) {
    return response.json().catch(() => {
      throw new Trouble("broken"); // whoever stands between, such as a network that wants a login first
    });
  }
  const seconds = Number(response.headers.get("Retry-After")) || 0;
  throw new Trouble(KINDS[response.status] ?? "broken", seconds);
}

/** A response with its body, or a Trouble; an AbortError only where `signal` ended it. */
async function answered(path, request, signal) {
  const limit = AbortSignal.timeout(WAIT_MS);
  try {
    const response = await fetch(path, { ...request, signal: AbortSignal.any([signal, limit]) });
    const body = await response.arrayBuffer();
    return new Response(body.byteLength ? body : null, response);
  } catch (error) {
    if (signal.aborted) throw error;
    if (limit.aborted) throw new Trouble("late");
    throw new Trouble(navigator.onLine ? "unreachable" : "offline");
  }
}
