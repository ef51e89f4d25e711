// SPDX-License-Identifier: Apache-2.0
/** A catalogue at a version, in memory, and its hash (docs/formats.md, "State hash"). */

import { createHash } from "node:crypto";

import type { Image, Offer, Product } from "./parts.ts";
import { imageBytes, offerBytes, placementBytes, productBytes, text, u32, u64 } from "./parts.ts";
import { littleEndian } from "./protobuf.ts";

const SUM_BITS = 512;

/** What a store and a delta must have in common. */
export type Identity = { catalogue: string; generation: Uint8Array; codebookSha256: Uint8Array };

export type State = {
  identity: Identity;
  version: bigint;
  dim: number;
  /** Number of lists. */
  lists: number;
  images: Map<number, Image>;
  /** List of each image, by the image's key. */
  placements: Map<number, number>;
  products: Map<number, Product>;
  offers: Map<number, Offer>;
};

/** The catalogue before its first version. */
export function emptyState(identity: Identity, dim: number, lists: number): State {
  return {
    identity,
    version: 0n,
    dim,
    lists,
    images: new Map(),
    placements: new Map(),
    products: new Map(),
    offers: new Map(),
  };
}

/** A state that can be changed without a change of `state`; parts themselves never change. */
export function copied(state: State): State {
  return {
    ...state,
    images: new Map(state.images),
    placements: new Map(state.placements),
    products: new Map(state.products),
    offers: new Map(state.offers),
  };
}

/** S: the sum of SHA-512 over the canonical bytes of all parts, modulo 2^512. */
export function stateSum(state: State): bigint {
  let sum = 0n;
  for (const bytes of canonicalParts(state)) {
    sum += littleEndian(createHash("sha512").update(bytes).digest());
  }
  return BigInt.asUintN(SUM_BITS, sum);
}

/** SHA-256 over what identifies the state, its counts and S. */
export function stateHash(state: State): Buffer {
  const counts = [state.images, state.placements, state.products, state.offers];
  return createHash("sha256")
    .update(u32(1))
    .update(text(state.identity.catalogue))
    .update(state.identity.generation)
    .update(state.identity.codebookSha256)
    .update(Buffer.concat(counts.map((parts) => u64(BigInt(parts.size)))))
    .update(sumBytes(stateSum(state)))
    .digest();
}

function* canonicalParts(state: State): Generator<Buffer> {
  for (const image of state.images.values()) yield imageBytes(image);
  for (const [key, list] of state.placements) yield placementBytes(key, list);
  for (const product of state.products.values()) yield productBytes(product);
  for (const offer of state.offers.values()) yield offerBytes(offer);
}

function sumBytes(sum: bigint): Buffer {
  return Buffer.from(sum.toString(16).padStart(SUM_BITS / 4, "0"), "hex").reverse();
}
