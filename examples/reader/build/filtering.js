// SPDX-License-Identifier: Apache-2.0
/** Which products a search may return (docs/formats.md, "From lists to matches"). */
const MOST_DIGITS = 28;
export function allows(filter, product, offer) {
    const { category, currency, min_price, max_price, in_stock, attributes = {} } = filter;
    const own = new Map(product.attributes);
    return ((category === undefined || product.category === category) &&
        (currency === undefined || offer.currency === currency) &&
        (min_price === undefined || (priced(offer) && compared(offer, min_price) >= 0)) &&
        (max_price === undefined || (priced(offer) && compared(offer, max_price) <= 0)) &&
        (!in_stock || offer.stock > 0n) &&
        Object.entries(attributes).every(([name, value]) => own.get(name) === value));
}
function priced(offer) {
    return offer.price >= 0n;
}
/** Below 0, 0 or above 0: the price is below, at or above the bound. */
function compared(offer, bound) {
    const [whole = "", fraction = ""] = bound.split(".");
    const exact = BigInt(whole + fraction.padEnd(MOST_DIGITS, "0"));
    const price = offer.price * 10n ** BigInt(MOST_DIGITS - minorDigits(offer.currency));
    return price < exact ? -1 : Number(price > exact);
}
/** Decimals of a currency's minor unit (ISO 4217). */
function minorDigits(currency) {
    return MINOR_DIGITS[currency] ?? 2;
}
const MINOR_DIGITS = {
    ...Object.fromEntries("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
        .split(" ")
        .map((currency) => [currency, 0])),
    ...Object.fromEntries("BHD IQD JOD KWD LYD OMR TND".split(" ").map((currency) => [currency, 3])),
    CLF: 4,
    UYW: 4,
};
