// SPDX-License-Identifier: Apache-2.0
/** Centroids, and the lists nearest a query (docs/formats.md, "Codebook bytes"). */

import { require } from "./errors.ts";

/** Centroids, row by row. */
export type Codebook = { centroids: Float64Array[] };

export function readCodebook(bytes: Uint8Array): Codebook {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  require(bytes.length >= 8, "The codebook ends within its first 8 bytes.");
  const count = view.getUint32(0, true);
  const dim = view.getUint32(4, true);
  require(bytes.length === 8 + 2 * count * dim, "The codebook has another length than it says.");
  const centroids = Array.from({ length: count }, (_, row) =>
    Float64Array.from({ length: dim }, (_, column) =>
      float16(view.getUint16(8 + 2 * (row * dim + column), true))));
  return { centroids };
}

/** All lists, nearest first; of two that are as near, the lower number. */
export function nearestLists({ centroids }: Codebook, query: Float64Array): number[] {
  const nearness = centroids.map((centroid) => dot(centroid, query));
  return nearness
    .map((_, list) => list)
    .sort((one, other) => (nearness[other] as number) - (nearness[one] as number) || one - other);
}

export function dot(one: ArrayLike<number>, other: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < one.length; index += 1) {
    sum += (one[index] as number) * (other[index] as number);
  }
  return sum;
}

function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
