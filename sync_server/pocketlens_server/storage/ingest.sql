-- SPDX-License-Identifier: Apache-2.0
-- What backends sent: requests that were answered, revisions of fields, jobs, images whose picture waits
-- to be embedded, and those that could not be.

CREATE TABLE requests (
    number INTEGER PRIMARY KEY,     -- in the order of their answers
    id     TEXT NOT NULL UNIQUE,
    body   BLOB NOT NULL,           -- digest of what was asked for, 16 bytes
    result TEXT NOT NULL,           -- see results.py
    version INTEGER NOT NULL
);

-- Of each field the newest revision that was applied; of an image only the first.
CREATE TABLE revisions (
    kind       INTEGER NOT NULL,    -- of history.py
    key        INTEGER NOT NULL,
    whole      INTEGER NOT NULL,    -- of what said all of it, or that it is not there
    price      INTEGER NOT NULL,
    stock      INTEGER NOT NULL,
    PRIMARY KEY (kind, key)
) WITHOUT ROWID;

-- Of attributes of a product that were told one by one since.
CREATE TABLE attribute_revisions (
    key      INTEGER NOT NULL,      -- of the product
    name     TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (key, name)
) WITHOUT ROWID;

CREATE TABLE jobs (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL,        -- see jobs.py, as states
    state     TEXT NOT NULL,
    caller    TEXT NOT NULL,        -- id of a token, or who else
    opened_at INTEGER NOT NULL,     -- microseconds since 1970-01-01 UTC
    active_at INTEGER NOT NULL,     -- when something of it came last
    ended_at  INTEGER NOT NULL,     -- 0 until it has
    expected  INTEGER NOT NULL,
    received  INTEGER NOT NULL DEFAULT 0,
    applied   INTEGER NOT NULL DEFAULT 0,
    unchanged INTEGER NOT NULL DEFAULT 0,
    skipped   INTEGER NOT NULL DEFAULT 0,
    refused   INTEGER NOT NULL DEFAULT 0,
    repeated  INTEGER NOT NULL DEFAULT 0,
    embedded  INTEGER NOT NULL DEFAULT 0,
    reused    INTEGER NOT NULL DEFAULT 0,
    dead      INTEGER NOT NULL DEFAULT 0,
    deleted_products INTEGER,       -- by a full feed that has ended so
    deleted_images   INTEGER
);

-- What a full feed has named so far.
CREATE TABLE named (
    job  INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    id   TEXT NOT NULL,
    PRIMARY KEY (job, kind, id)
) WITHOUT ROWID;

CREATE TABLE waiting_images (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,   -- of the image
    url     TEXT NOT NULL,
    picture BLOB NOT NULL,          -- SHA-256
    job     INTEGER NOT NULL
);

CREATE INDEX waiting_by_picture ON waiting_images (picture);
CREATE INDEX waiting_by_job ON waiting_images (job);

CREATE TABLE waiting_links (
    product_key INTEGER NOT NULL,
    number      INTEGER NOT NULL,   -- of the waiting image
    PRIMARY KEY (product_key, number)
) WITHOUT ROWID;

CREATE INDEX waiting_links_by_number ON waiting_links (number);

CREATE TABLE dead_letters (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT NOT NULL UNIQUE,   -- of the image: a newer operation takes its place
    url     TEXT NOT NULL,
    picture BLOB NOT NULL,
    job     INTEGER NOT NULL,
    products TEXT NOT NULL,         -- their ids, as JSON
    reason  TEXT NOT NULL,
    at      INTEGER NOT NULL        -- microseconds since 1970-01-01 UTC
);

CREATE INDEX dead_letters_by_picture ON dead_letters (picture);
