// SPDX-License-Identifier: Apache-2.0
/** A delta applied to a state (docs/formats.md, "Delta"). */

import type { Delta } from "./delta.ts";
import { require } from "./errors.ts";
import type { State } from "./state.ts";
import { copied, stateHash } from "./state.ts";

/**
 * The state after `delta`, whose hash was signed as `signedHash`. `before` stays as it is, also
 * where the delta is refused. `elsewhere` has lists of new images that the delta does not place.
 */
export function applied(
  before: State,
  delta: Delta,
  signedHash: Uint8Array,
  elsewhere: Map<number, number> = new Map(),
): State {
  requireSame(before, delta);
  const state = copied(before);
  for (const key of delta.deletedProducts) {
    state.products.delete(key);
    state.offers.delete(key);
  }
  for (const key of delta.deletedImages) {
    state.images.delete(key);
    state.placements.delete(key);
  }
  for (const product of delta.products) state.products.set(product.key, product);
  for (const offer of delta.offers) state.offers.set(offer.key, offer);
  for (const image of delta.images) {
    const list = state.images.has(image.key) ? undefined : elsewhere.get(image.key);
    if (list !== undefined) state.placements.set(image.key, list);
    state.images.set(image.key, image);
  }
  for (const [imageKey, list] of delta.placements) state.placements.set(imageKey, list);
  state.version = delta.header.head;
  requireWhole(state);
  require(stateHash(state).equals(signedHash), "The delta leads to another state than was signed.");
  return state;
}

function requireSame({ identity, version, dim }: State, { header }: Delta): void {
  require(header.catalogue === identity.catalogue, `The delta is of catalogue "${header.catalogue}".`);
  require(equal(header.generation, identity.generation), "The delta is of another generation.");
  require(equal(header.codebookSha256, identity.codebookSha256), "The delta is of another codebook.");
  require(header.dim === dim, `Codes of the delta have ${header.dim} numbers, not ${dim}.`);
  require(header.base <= version && version < header.head,
    `A delta from ${header.base} to ${header.head} cannot be applied at version ${version}.`);
}

function requireWhole({ images, placements, products, offers, lists }: State): void {
  requireSameKeys("product", products, "offer", offers);
  requireSameKeys("image", images, "list", placements);
  for (const [key, list] of placements) require(list < lists, `Image ${key} is in no list: ${list}.`);
}

function requireSameKeys(
  one: string,
  ones: Map<number, unknown>,
  other: string,
  others: Map<number, unknown>,
): void {
  for (const key of ones.keys()) require(others.has(key), `There is no ${other} for ${one} ${key}.`);
  for (const key of others.keys()) require(ones.has(key), `There is no ${one} for ${other} ${key}.`);
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one, other) === 0;
}
