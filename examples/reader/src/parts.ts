// SPDX-License-Identifier: Apache-2.0
/** Parts of a catalogue and their canonical bytes (docs/formats.md, "Canonical bytes of parts"). */

export type Image = {
  key: number;
  id: string;
  url: string;
  productKeys: number[];
  code: Int8Array;
};

export type Product = {
  key: number;
  id: string;
  title: string;
  category: string;
  url: string;
  attributes: [name: string, value: string][];
};

export type Offer = { key: number; price: bigint; currency: string; stock: bigint };

const IMAGE = 1;
const PLACEMENT = 2;
const PRODUCT = 3;
const OFFER = 4;

export function imageBytes(image: Image): Buffer {
  return Buffer.concat([
    tagged(IMAGE, image.key),
    text(image.id),
    text(image.url),
    u32(image.productKeys.length),
    ...image.productKeys.map(u32),
    u32(image.code.length),
    new Uint8Array(image.code.buffer, image.code.byteOffset, image.code.length),
  ]);
}

export function placementBytes(imageKey: number, list: number): Buffer {
  return Buffer.concat([tagged(PLACEMENT, imageKey), u32(list)]);
}

export function productBytes(product: Product): Buffer {
  return Buffer.concat([
    tagged(PRODUCT, product.key),
    text(product.id),
    text(product.title),
    text(product.category),
    text(product.url),
    u32(product.attributes.length),
    ...product.attributes.flatMap(([name, value]) => [text(name), text(value)]),
  ]);
}

export function offerBytes(offer: Offer): Buffer {
  const currency = Buffer.alloc(3);
  currency.write(offer.currency, "latin1");
  return Buffer.concat([tagged(OFFER, offer.key), i64(offer.price), currency, i64(offer.stock)]);
}

/** u32 length in bytes, then UTF-8. */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value, "utf-8");
  return Buffer.concat([u32(bytes.length), bytes]);
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

function i64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(value);
  return bytes;
}

function tagged(tag: number, key: number): Buffer {
  return Buffer.concat([Buffer.from([tag]), u32(key)]);
}
