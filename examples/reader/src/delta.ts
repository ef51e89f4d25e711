// SPDX-License-Identifier: Apache-2.0
/** A delta stream as values: what is deleted, and final states of what changed. */

import { Refused, require, requireFormat, requireName, requireTime } from "./errors.ts";
import { messagesOf } from "./inflate.ts";
import type { Image, Offer, Product } from "./parts.ts";
import { Message } from "./protobuf.ts";

const HASH_BYTES = 32;
const MAX_KEY = 0xffffffff;
const MAX_VERSION = 2n ** 63n - 1n;
const MAX_AMOUNT = 2n ** 53n;
const MAX_ID_BYTES = 200;
const DIMS = { from: 2, to: 4_096 };

export type Header = {
  catalogue: string;
  generation: Uint8Array;
  codebookSha256: Uint8Array;
  base: bigint;
  head: bigint;
  asOf: bigint;
  dim: number;
};

export type Delta = {
  header: Header;
  deletedProducts: number[];
  deletedImages: number[];
  products: Product[];
  images: Image[];
  offers: Offer[];
  placements: [imageKey: number, list: number][];
};

/** Reads a stream of which `inflatedSize` was signed. */
export function readDelta(stream: Uint8Array, inflatedSize: number): Delta {
  const [first, ...blocks] = messagesOf(stream, inflatedSize);
  if (first === undefined) throw new Refused("The stream has no header.");
  const delta: Delta = {
    header: header(new Message(first)),
    deletedProducts: [],
    deletedImages: [],
    products: [],
    images: [],
    offers: [],
    placements: [],
  };
  for (const block of blocks) append(delta, new Message(block));
  const keysOf = (parts: { key: number }[]): number[] => parts.map((part) => part.key);
  requireOnce("deleted product", delta.deletedProducts);
  requireOnce("deleted image", delta.deletedImages);
  requireOnce("product", keysOf(delta.products));
  requireOnce("image", keysOf(delta.images));
  requireOnce("offer", keysOf(delta.offers));
  requireOnce("placement", delta.placements.map(([key]) => key));
  return delta;
}

function header(message: Message): Header {
  requireFormat("delta", message.uint32(1));
  const read: Header = {
    catalogue: message.text(2),
    generation: message.bytes(3),
    codebookSha256: message.bytes(4),
    base: message.uint64(5),
    head: message.uint64(6),
    asOf: message.int64(7),
    dim: message.uint32(8),
  };
  requireName(read.catalogue);
  require(read.generation.length === HASH_BYTES, "The id of the generation has not 32 bytes.");
  require(read.codebookSha256.length === HASH_BYTES, "The codebook hash has not 32 bytes.");
  require(read.base < read.head && read.head <= MAX_VERSION,
    `There is no way from version ${read.base} to ${read.head}.`);
  requireTime(read.asOf);
  require(DIMS.from <= read.dim && read.dim <= DIMS.to, `Codes cannot have ${read.dim} numbers.`);
  return read;
}

function append(delta: Delta, block: Message): void {
  const changes =
    delta.products.length + delta.images.length + delta.offers.length + delta.placements.length;
  const deleted = [keys(block.uint32s(1)), keys(block.uint32s(2))] as const;
  require(changes === 0 || deleted.every((some) => some.length === 0), "Deletions come after parts.");
  delta.deletedProducts.push(...deleted[0]);
  delta.deletedImages.push(...deleted[1]);
  delta.products.push(...products(block.message(3)));
  delta.images.push(...images(block.message(4), delta.header.dim));
  delta.offers.push(...offers(block.message(5)));
  delta.placements.push(...placements(block.message(6)));
}

function products(columns: Message): Product[] {
  const keyColumn = keys(columns.uint32s(1));
  const ids = columns.texts(2);
  const titles = columns.texts(3);
  const urls = columns.texts(4);
  const categories = numbered(columns.texts(5), columns.uint32s(6));
  const counts = columns.uint32s(7);
  const names = numbered(columns.texts(8), columns.uint32s(9));
  const values = columns.texts(10);
  requireRows("products", keyColumn.length, [ids, titles, urls, categories, counts]);
  requireRows("attributes", total(counts), [names, values]);
  ids.forEach(requireId);
  let at = 0;
  return keyColumn.map((key, row) => {
    const from = at;
    at += counts[row] as number;
    const attributes = names
      .slice(from, at)
      .map((name, index): [string, string] => [name, values[from + index] as string]);
    requireAscending(attributes.map(([name]) => name));
    return {
      key,
      id: ids[row] as string,
      title: titles[row] as string,
      category: categories[row] as string,
      url: urls[row] as string,
      attributes,
    };
  });
}

function images(columns: Message, dim: number): Image[] {
  const keyColumn = keys(columns.uint32s(1));
  const ids = columns.texts(2);
  const urls = columns.texts(3);
  const counts = columns.uint32s(4);
  const productKeys = summed(columns.sint64s(5));
  const codes = columns.bytes(6);
  requireRows("images", keyColumn.length, [ids, urls, counts]);
  requireRows("products of images", total(counts), [productKeys]);
  require(codes.length === keyColumn.length * dim, "The codes of images have another length.");
  ids.forEach(requireId);
  let at = 0;
  return keyColumn.map((key, row) => {
    const from = at;
    at += counts[row] as number;
    const own = productKeys.slice(from, at);
    require(own.length > 0, `Image ${key} has no product.`);
    require(own.every((value, index) => index === 0 || (own[index - 1] as number) < value),
      `Products of image ${key} do not ascend.`);
    const code = new Int8Array(codes.subarray(row * dim, (row + 1) * dim));
    require(!code.includes(-128), `The code of image ${key} has a -128.`);
    return { key, id: ids[row] as string, url: urls[row] as string, productKeys: own, code };
  });
}

function offers(columns: Message): Offer[] {
  const keyColumn = keys(columns.uint32s(1));
  const prices = columns.sint64s(2);
  const currencies = numbered(columns.texts(3), columns.uint32s(4));
  const stocks = columns.sint64s(5);
  requireRows("offers", keyColumn.length, [prices, currencies, stocks]);
  return keyColumn.map((key, row) => {
    const price = prices[row] as bigint;
    const currency = currencies[row] as string;
    const stock = stocks[row] as bigint;
    const priced = /^[A-Z]{3}$/.test(currency) && 0n <= price && price <= MAX_AMOUNT;
    require(priced || (currency === "" && price === -1n),
      `Product ${key} costs ${price} ${JSON.stringify(currency)}.`);
    require(-1n <= stock && stock <= MAX_AMOUNT, `Product ${key} has a stock of ${stock}.`);
    return { key, price, currency, stock };
  });
}

function placements(columns: Message): [number, number][] {
  const keyColumn = keys(columns.uint32s(1));
  const lists = columns.uint32s(2);
  requireRows("placements", keyColumn.length, [lists]);
  return keyColumn.map((key, row) => [key, lists[row] as number]);
}

/** Keys from their steps: the first key, then the distance of each to the one before. */
function keys(steps: number[]): number[] {
  require(steps.every((step) => step > 0), "A key is 0, or not above the one before.");
  return summed(steps.map(BigInt));
}

function summed(steps: bigint[]): number[] {
  let sum = 0n;
  return steps.map((step) => {
    sum += step;
    require(sum >= 1n && sum <= BigInt(MAX_KEY), `A key is ${sum}, not 1 to ${MAX_KEY}.`);
    return Number(sum);
  });
}

/** The texts that `numbers` name. */
function numbered(texts: string[], numbers: number[]): string[] {
  return numbers.map((number) => {
    const found = texts[number];
    if (found === undefined) throw new Refused(`There is no text ${number} of ${texts.length}.`);
    return found;
  });
}

function requireRows(what: string, rows: number, columns: unknown[][]): void {
  require(columns.every((column) => column.length === rows), `Columns of ${what} differ in length.`);
}

function requireId(id: string): void {
  const length = Buffer.byteLength(id);
  require(1 <= length && length <= MAX_ID_BYTES, `An id has ${length} bytes, not 1 to ${MAX_ID_BYTES}.`);
}

function requireAscending(names: string[]): void {
  const bytes = names.map((name) => Buffer.from(name));
  require(bytes.every((name, index) => index === 0 || Buffer.compare(bytes[index - 1] as Buffer, name) < 0),
    "Attributes of a product are not sorted by name, each once.");
}

function requireOnce(what: string, some: number[]): void {
  require(new Set(some).size === some.length, `A ${what} comes twice.`);
}

function total(counts: number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
