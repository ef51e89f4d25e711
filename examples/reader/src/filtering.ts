// SPDX-License-Identifier: Apache-2.0
/** Which products a search may return (docs/formats.md, "From lists to matches"). */

import type { Offer, Product } from "./parts.ts";

/** Conditions that must all hold; one that is absent asks for nothing. */
export type Filter = {
  category?: string;
  /** Decimal texts, such as "12.50", in the major unit of the product's currency; both included. */
  min_price?: string;
  max_price?: string;
  currency?: string;
  in_stock?: boolean;
  attributes?: Record<string, string>;
};

const MOST_DIGITS = 28;

export function allows(filter: Filter, product: Product, offer: Offer): boolean {
  const { category, currency, min_price, max_price, in_stock, attributes = {} } = filter;
  const own = new Map(product.attributes);
  return (
    (category === undefined || product.category === category) &&
    (currency === undefined || offer.currency === currency) &&
    (min_price === undefined || (priced(offer) && compared(offer, min_price) >= 0)) &&
    (max_price === undefined || (priced(offer) && compared(offer, max_price) <= 0)) &&
    (!in_stock || offer.stock > 0n) &&
    Object.entries(attributes).every(([name, value]) => own.get(name) === value)
  );
}

function priced(offer: Offer): boolean {
  return offer.price >= 0n;
}

/** Below 0, 0 or above 0: the price is below, at or above the bound. */
function compared(offer: Offer, bound: string): number {
  const [whole = "", fraction = ""] = bound.split(".");
  const exact = BigInt(whole + fraction.padEnd(MOST_DIGITS, "0"));
  const price = offer.price * 10n ** BigInt(MOST_DIGITS - minorDigits(offer.currency));
  return price < exact ? -1 : Number(price > exact);
}

/** Decimals of a currency's minor unit (ISO 4217). */
function minorDigits(currency: string): number {
  return MINOR_DIGITS[currency] ?? 2;
}

const MINOR_DIGITS: Record<string, number> = {
  ...Object.fromEntries(
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
      .split(" ")
      .map((currency) => [currency, 0]),
  ),
  ...Object.fromEntries("BHD IQD JOD KWD LYD OMR TND".split(" ").map((currency) => [currency, 3])),
  CLF: 4,
  UYW: 4,
};
