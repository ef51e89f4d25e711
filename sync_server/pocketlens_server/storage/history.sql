-- SPDX-License-Identifier: Apache-2.0
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
