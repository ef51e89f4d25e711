-- SPDX-License-Identifier: Apache-2.0
-- A catalogue's database as it was before there were migrations; never edited.

-- Every value of a catalogue that is or was, with the versions in which it holds. A version v sees
-- the rows with valid_from <= v and v < valid_to.

CREATE TABLE history (
    kind       INTEGER NOT NULL,    -- of what: see history.py
    key        INTEGER NOT NULL,    -- of the product or image
    valid_from INTEGER NOT NULL,    -- version
    valid_to   INTEGER NOT NULL,    -- version; 2**62 while it holds
    value      BLOB NOT NULL,
    PRIMARY KEY (kind, key, valid_from)
) WITHOUT ROWID;

CREATE INDEX history_begun ON history (kind, valid_from);
CREATE INDEX history_ended ON history (kind, valid_to);

-- Keys of ids, given once and never again.
CREATE TABLE keys (
    kind INTEGER NOT NULL,
    id   TEXT NOT NULL,
    key  INTEGER NOT NULL,          -- from 1, dense within a kind
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX keys_by_key ON keys (kind, key);

-- Versions that were published; what holds from a later one on waits.
CREATE TABLE versions (
    version INTEGER PRIMARY KEY,
    as_of   INTEGER NOT NULL        -- microseconds since 1970-01-01 UTC
);

-- What images show now, with all that waits: to find the images of a product.
CREATE TABLE links (
    product_key INTEGER NOT NULL,
    image_key   INTEGER NOT NULL,
    PRIMARY KEY (product_key, image_key)
) WITHOUT ROWID;

CREATE INDEX links_by_image ON links (image_key);

-- Embeddings of pictures by each bundle, and the generations whose codes are made of them. A picture
-- is named by the SHA-256 of its file.

CREATE TABLE bundles (
    number INTEGER PRIMARY KEY,     -- from 1
    sha256 BLOB NOT NULL UNIQUE     -- of the file, 32 bytes
);

CREATE TABLE embeddings (
    bundle    INTEGER NOT NULL,     -- number
    picture   BLOB NOT NULL,
    embedding BLOB NOT NULL,        -- f32 (dim), unit length
    PRIMARY KEY (bundle, picture)
) WITHOUT ROWID;

CREATE TABLE generations (
    number           INTEGER PRIMARY KEY,   -- from 1
    bundle           INTEGER NOT NULL,      -- number
    id               BLOB NOT NULL UNIQUE,  -- 32 bytes
    scale            BLOB NOT NULL,         -- f32 (dim)
    centroids        BLOB NOT NULL,         -- f16 (lists, dim)
    probes           INTEGER NOT NULL,      -- lists that a search scores
    probes_estimated INTEGER NOT NULL,      -- 1 without held-out photos
    saturated_share  REAL NOT NULL,         -- of components of codes, 0 to 1, when they were made
    listed_at        INTEGER NOT NULL,      -- version that brought the codebook
    listed_images    INTEGER NOT NULL,      -- that there were then
    listed_distance  REAL NOT NULL,         -- mean, from images to their centroids, then
    retires_at       INTEGER                -- microseconds since 1970-01-01 UTC; NULL in the newest
);

CREATE TABLE codes (
    generation INTEGER NOT NULL,    -- number
    picture    BLOB NOT NULL,
    code       BLOB NOT NULL,       -- i8 (dim)
    PRIMARY KEY (generation, picture)
) WITHOUT ROWID;

-- The newest snapshot of each generation, and the lists that its newest codebook brought.
CREATE TABLE streams (
    generation INTEGER NOT NULL,
    kind       TEXT NOT NULL,       -- snapshot or relist
    version    INTEGER NOT NULL,
    inflated   INTEGER NOT NULL,    -- bytes of its stream before it was compressed
    sha256     BLOB NOT NULL,
    bytes      INTEGER NOT NULL,
    pieces     BLOB NOT NULL,       -- SHA-256 of each piece of 1 MiB
    PRIMARY KEY (generation, kind)
) WITHOUT ROWID;

-- The manifest of each generation at its newest version, as it is signed.
CREATE TABLE manifests (
    generation INTEGER PRIMARY KEY,
    data       BLOB NOT NULL
);

-- The state of a generation at each version that deltas begin at.
CREATE TABLE states (
    generation INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    parts_sum  BLOB NOT NULL,       -- S of all parts but placements, 64 bytes
    placed_sum BLOB NOT NULL,       -- S of the placements, 64 bytes
    images     INTEGER NOT NULL,
    products   INTEGER NOT NULL,
    PRIMARY KEY (generation, version)
) WITHOUT ROWID;
