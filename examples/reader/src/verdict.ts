// SPDX-License-Identifier: Apache-2.0
/** Whether the first match is the thing in the photo (docs/formats.md, "Verdict"). */

import type { Match } from "./matching.ts";

export type Calibration = {
  intercept: number;
  similarity_weight: number;
  margin_weight: number;
  log_products_weight: number;
  match_threshold: number;
  no_match_threshold: number;
};

export type Judgement = { verdict: "match" | "unsure" | "no_match"; confidence: number | null };

/**
 * Judges the first of `best`, the first two matches without a filter, in a gallery of so many
 * products.
 */
export function judge(best: Match[], products: number, calibration: Calibration | null): Judgement {
  const [first, second] = best;
  if (first === undefined) return { verdict: "no_match", confidence: calibration && 0 };
  if (calibration === null) return { verdict: "unsure", confidence: null };
  const lead = first.similarity - (second?.similarity ?? Math.min(first.similarity, 0));
  const confidence = 1 / (1 + Math.exp(-(
    calibration.intercept
    + calibration.similarity_weight * first.similarity
    + calibration.margin_weight * lead
    + calibration.log_products_weight * Math.log(Math.max(products, 1)))));
  if (confidence >= calibration.match_threshold) return { verdict: "match", confidence };
  const refuses = confidence < calibration.no_match_threshold;
  return { verdict: refuses ? "no_match" : "unsure", confidence };
}
