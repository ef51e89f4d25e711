"""Views of a store for other SQLite tools: columns that people read, made of rows that we read.

    products_view(key, id, title, category, url, price, currency, stock)
    attributes_view(product_key, name, value)
    images_view(key, id, url)
    image_products_view(image_key, image_id, image_url, product_key, product_id)
    facts_view(name, value)

PocketLens reads no view: whatever is wrong with one is wrong nowhere else, and views of somebody's
own may stand beside these. They are plain SQL, without a function of ours, so that any SQLite from
3.25 on (window functions) reads them; what blobs hold is taken apart byte by byte. docs/sqlite.md
describes every column.
"""

# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 # no text of SQL comes from anywhere else

from __future__ import annotations

import sqlite3
from itertools import groupby

from pocketlens.products import MINOR_DIGITS

_INTEGER_FACTS = (
    "format version images products lists max_image_key max_product_key categories attribute_rows"
    " dim probes probes_estimated"
).split()
_HEX_FACTS = "generation bundle_sha256 codebook_sha256 state_hash".split()


def refresh(connection: sqlite3.Connection) -> None:
    """Makes the views that are missing, or another release's, inside a transaction that may write.

    A store that has them is not written to.
    """
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'view'"
    found = dict(connection.execute(query).fetchall())
    for name, statement in _STATEMENTS.items():
        if found.get(name) != statement:
            connection.execute(f"DROP VIEW IF EXISTS {name}")
            connection.execute(statement)


def _number(blob: str, at: str, size: int) -> str:
    """SQL of the little-endian number in `size` bytes of a blob from `at`, counted from 1, on.

    `bytes.every` holds each byte at its own place.
    """
    each = (
        f"{256**place} * (instr(every, substr({blob}, {at} + {place}, 1)) - 1)"
        for place in range(size)
    )
    return f"({' + '.join(each)})"


def _texts(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _minor_units() -> str:
    """SQL of how many minor units one unit of `currency` has."""
    by_digits = groupby(sorted(MINOR_DIGITS, key=MINOR_DIGITS.__getitem__), MINOR_DIGITS.get)
    cases = [
        f"WHEN currency IN ({_texts(list(some))}) THEN {10.0**digits}"
        for digits, some in by_digits
        if digits is not None
    ]
    return f"CASE {' '.join(cases)} ELSE 100.0 END"


_BYTES = f"bytes (every) AS (SELECT x'{bytes(range(256)).hex()}')"
# A chunk has at most 1,000 entries: three digits of its number, each joined only where the chunk
# reaches so far. One table of 1,000 would be walked whole for an entry.
_DIGITS = f"digits (digit) AS (VALUES {', '.join(f'({digit})' for digit in range(10))})"


def _entries(table: str, blob: str) -> str:
    """SQL of a join of each row with the numbers, from 0, of the four-byte entries of its blob."""
    return f"""{table} CROSS JOIN digits AS hundreds CROSS JOIN digits AS tens
  CROSS JOIN digits AS ones CROSS JOIN bytes
  WHERE 400 * hundreds.digit < length({blob})
    AND 400 * hundreds.digit + 40 * tens.digit < length({blob})
    AND 4 * {_ENTRY} < length({blob})"""


_ENTRY = "(100 * hundreds.digit + 10 * tens.digit + ones.digit)"

_PRODUCTS = f"""CREATE VIEW products_view AS
WITH offered AS (
  SELECT product_key, stock, price AS minor_units, CASE WHEN currency > 0 THEN
    char(currency >> 16, currency >> 8 & 255, currency & 255) END AS currency FROM offers)
SELECT products.key, products.id, products.title, categories.name AS category, products.url,
  CASE WHEN minor_units >= 0 THEN minor_units / {_minor_units()} END AS price,
  currency, CASE WHEN stock >= 0 THEN stock END AS stock
FROM products JOIN categories ON categories.number = products.category
  LEFT JOIN offered ON offered.product_key = products.key"""

_ATTRIBUTES = f"""CREATE VIEW attributes_view AS
WITH {_BYTES}, {_DIGITS}
SELECT {_number("product_keys", f"4 * {_ENTRY} + 1", 4)} AS product_key, name, value
FROM {_entries("attributes", "product_keys")}"""

_IMAGES = """CREATE VIEW images_view AS
SELECT key, id, url FROM images"""

# `ended` says where the products of an image end among those of its chunk.
_IMAGE_PRODUCTS = f"""CREATE VIEW image_products_view AS
WITH RECURSIVE {_BYTES}, {_DIGITS},
counted AS (
  SELECT chunk, {_ENTRY} AS entry, {_number("counts", f"4 * {_ENTRY} + 1", 4)} AS count
  FROM {_entries("image_products", "counts")}),
ended AS (
  SELECT chunk, entry, count, sum(count) OVER (PARTITION BY chunk ORDER BY entry) AS stop
  FROM counted),
linked (chunk, entry, place, stop) AS (
  SELECT chunk, entry, stop - count, stop FROM ended WHERE count > 0
  UNION ALL SELECT chunk, entry, place + 1, stop FROM linked WHERE place + 1 < stop),
keyed AS (
  SELECT 1000 * linked.chunk + entry + 1 AS image_key,
    {_number("product_keys", "4 * place + 1", 4)} AS product_key
  FROM linked JOIN image_products ON image_products.chunk = linked.chunk CROSS JOIN bytes)
SELECT image_key, images.id AS image_id, images.url AS image_url, product_key,
  products.id AS product_id
FROM keyed JOIN images ON images.key = image_key JOIN products ON products.key = product_key"""

_FACTS = f"""CREATE VIEW facts_view AS
WITH {_BYTES},
numbered AS (SELECT name, value, {_number("value", "1", 7)} AS number FROM facts CROSS JOIN bytes)
SELECT name, CASE
  WHEN name IN ({_texts(_INTEGER_FACTS)}) THEN number
  WHEN name IN ({_texts(_HEX_FACTS)}) THEN lower(hex(value))
  WHEN name = 'catalogue' THEN CAST(value AS TEXT)
  ELSE strftime('%Y-%m-%dT%H:%M:%S', number / 1000000, 'unixepoch')
    || printf('.%06dZ', number % 1000000)
  END AS value
FROM numbered
WHERE name IN ({_texts([*_INTEGER_FACTS, *_HEX_FACTS, "catalogue", "as_of"])})"""

_STATEMENTS = {
    statement.split()[2]: statement
    for statement in (_PRODUCTS, _ATTRIBUTES, _IMAGES, _IMAGE_PRODUCTS, _FACTS)
}
