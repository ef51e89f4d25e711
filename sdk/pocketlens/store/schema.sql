-- SPDX-License-Identifier: Apache-2.0
-- The store of one install (docs/formats.md, "Store directory"). All integers in blobs are little
-- endian. `checksum` is the CRC-32 of what docs/formats.md names for the table: SQLite itself
-- notices one flipped bit in twenty. Keys count from 1; chunk c of a map holds 1,000 keys from
-- 1000 c + 1 on.

-- Facts of the whole store: see store/facts.py for names and units.
CREATE TABLE facts (
    name     TEXT PRIMARY KEY,
    value    BLOB NOT NULL,      -- as facts.py packs it
    checksum INTEGER NOT NULL
) WITHOUT ROWID;

-- Centroids of the lists; one row.
CREATE TABLE codebook (
    number    INTEGER PRIMARY KEY,   -- 1
    centroids BLOB NOT NULL          -- float16 (lists, dim); its SHA-256 is a fact
);

-- Codes, at most 128 a chunk: with 4,096-byte pages 135 to 137 bytes a code at 128 dimensions
-- (chunks of 16: 300; one blob a list would be rewritten whole for one new code). A rowid table:
-- in one WITHOUT ROWID blobs of this size leave a quarter of each page empty.
CREATE TABLE list_chunks (
    place      INTEGER PRIMARY KEY,  -- list * 2**20 + number of the chunk in it, from 0
    image_keys BLOB NOT NULL,        -- u32 (n,), ascending within the list
    codes      BLOB NOT NULL,        -- int8 (n, dim)
    checksum   INTEGER NOT NULL
);

-- The codes in each list, so that a chunk that is missing is noticed; in a table of its own, so that
-- one more code changes the last chunk alone. List l is key l + 1 of this map.
CREATE TABLE list_sizes (
    chunk    INTEGER PRIMARY KEY,
    sizes    BLOB NOT NULL,          -- u32 (n,)
    checksum INTEGER NOT NULL
);

-- The list of each image.
CREATE TABLE image_lists (
    chunk    INTEGER PRIMARY KEY,
    lists    BLOB NOT NULL,          -- u16 (n,)
    checksum INTEGER NOT NULL
);

-- The products of each image.
CREATE TABLE image_products (
    chunk        INTEGER PRIMARY KEY,
    counts       BLOB NOT NULL,      -- u32 (n,): products of each image
    product_keys BLOB NOT NULL,      -- u32 (sum of counts,), ascending for each image
    checksum     INTEGER NOT NULL
);

CREATE TABLE images (
    key      INTEGER PRIMARY KEY,
    id       TEXT NOT NULL,
    url      TEXT NOT NULL,          -- "" where unknown
    checksum INTEGER NOT NULL
);

CREATE TABLE products (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL,
    title      TEXT NOT NULL,        -- "" where unknown, as category and url
    category   INTEGER NOT NULL,     -- number in categories
    url        TEXT NOT NULL,
    attributes BLOB NOT NULL,        -- canonical bytes (formats/parts.py)
    checksum   INTEGER NOT NULL
);

-- What changes daily, narrow, so that a price patch never touches texts.
CREATE TABLE offers (
    product_key INTEGER PRIMARY KEY,
    price       INTEGER NOT NULL,    -- minor units of the currency; -1 where unknown
    currency    INTEGER NOT NULL,    -- three letters as a 24-bit number, first highest; 0: none
    stock       INTEGER NOT NULL,    -- pieces; -1 where unknown
    checksum    INTEGER NOT NULL
);

CREATE TABLE categories (
    number   INTEGER PRIMARY KEY,    -- from 0, dense
    name     TEXT NOT NULL,
    checksum INTEGER NOT NULL
);

-- The category of each product, for filters: without it they would read every text.
CREATE TABLE product_categories (
    chunk    INTEGER PRIMARY KEY,
    numbers  BLOB NOT NULL,          -- u32 (n,): number in categories
    checksum INTEGER NOT NULL
);

-- The products of each attribute's value, for filters; at most 1,000 a row.
CREATE TABLE attributes (
    name         TEXT NOT NULL,
    value        TEXT NOT NULL,
    chunk        INTEGER NOT NULL,   -- from 0
    product_keys BLOB NOT NULL,      -- u32 (n,), ascending over the chunks
    checksum     INTEGER NOT NULL,
    PRIMARY KEY (name, value, chunk)
) WITHOUT ROWID;

-- What a store that follows a server trusts: signed metadata by its name, and the manifest of its
-- version. Empty in other stores.
CREATE TABLE trusted (
    name     TEXT PRIMARY KEY,
    data     BLOB NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID;
