// SPDX-License-Identifier: Apache-2.0
/** Lists and a query to matches (docs/formats.md, "From lists to matches"). */

import type { Codebook } from "./codebook.ts";
import { dot, nearestLists } from "./codebook.ts";
import type { Filter } from "./filtering.ts";
import { allows } from "./filtering.ts";
import type { Image } from "./parts.ts";
import type { State } from "./state.ts";

const MORE_LISTS = 4;
const LEVELS = 127;

/** What belongs to a generation and its codebook. */
export type Space = {
  codebook: Codebook;
  scale: Float32Array;
  probes: number;
  duplicateCosine: number;
};

export type Match = {
  productKey: number;
  alternatives: number[];
  imageKey: number;
  similarity: number;
};

export type Found = {
  matches: Match[];
  /** The first two matches without the filter: what a verdict is made of. */
  best: Match[];
  /** Products under the filter that some image shows; null without a filter. */
  matchingProducts: number | null;
};

type Scored = { image: Image; similarity: number; products: number[] };

export function search(
  state: State,
  space: Space,
  query: Float32Array,
  k: number,
  filter: Filter | null,
): Found {
  const weights = Float64Array.from(query, (value, j) => (value * (space.scale[j] as number)) / LEVELS);
  const unfiltered = withoutFilter(state, space, Float64Array.from(query), weights, Math.max(k, 2));
  const best = unfiltered.slice(0, 2);
  if (filter === null) return { matches: unfiltered.slice(0, k), best, matchingProducts: null };
  // No more than 20,000 images are looked for here, so that all eligible ones are scored.
  const allowed = new Set<number>();
  for (const product of state.products.values()) {
    const offer = state.offers.get(product.key);
    if (offer !== undefined && allows(filter, product, offer)) allowed.add(product.key);
  }
  const eligible = scored([...state.images.values()], weights, (key) => allowed.has(key));
  const shown = new Set(eligible.flatMap(({ products }) => products));
  return { matches: grouped(eligible, k, space), best, matchingProducts: shown.size };
}

/** Matches of the nearest lists; of more lists where those do not give as many as are wanted. */
function withoutFilter(
  state: State,
  space: Space,
  query: Float64Array,
  weights: Float64Array,
  wanted: number,
): Match[] {
  const order = nearestLists(space.codebook, query);
  for (let probes = space.probes; ; probes *= MORE_LISTS) {
    const probed = new Set(order.slice(0, probes));
    const images = [...state.images.values()].filter(({ key }) =>
      probed.has(state.placements.get(key) as number));
    const matches = grouped(scored(images, weights, () => true), wanted, space);
    if (matches.length === wanted || probes >= order.length) return matches;
  }
}

/** Images that show a product that counts, by falling similarity; equals by key. */
function scored(
  images: Image[],
  weights: Float64Array,
  counts: (productKey: number) => boolean,
): Scored[] {
  return images
    .map((image) => ({
      image,
      similarity: dot(weights, image.code),
      products: image.productKeys.filter(counts),
    }))
    .filter(({ products }) => products.length > 0)
    .sort((one, other) => other.similarity - one.similarity || one.image.key - other.image.key);
}

/** At most `wanted` matches of images that come by falling similarity. */
function grouped(images: Scored[], wanted: number, space: Space): Match[] {
  const matches: Match[] = [];
  const winners: Float64Array[] = [];
  const placed = new Set<number>();
  for (const { image, similarity, products } of images) {
    const fresh = products.filter((key) => !placed.has(key));
    const [first, ...others] = fresh;
    if (first === undefined) continue;
    const unit = unitOf(image, space.scale);
    const twin = matches[winners.findIndex((winner) => dot(winner, unit) >= space.duplicateCosine)];
    if (twin !== undefined) {
      twin.alternatives.push(...fresh);
    } else if (matches.length === wanted) {
      break;
    } else {
      matches.push({ productKey: first, alternatives: others, imageKey: image.key, similarity });
      winners.push(unit);
    }
    for (const key of fresh) placed.add(key);
  }
  return matches;
}

/** The embedding that a code stands for, at unit length. */
function unitOf({ code }: Image, scale: Float32Array): Float64Array {
  const decoded = Float64Array.from(code, (level, j) => (level * (scale[j] as number)) / LEVELS);
  const length = Math.max(Math.sqrt(dot(decoded, decoded)), 1e-12);
  return decoded.map((value) => value / length);
}
