-- SPDX-License-Identifier: Apache-2.0
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
