-- SPDX-License-Identifier: Apache-2.0
-- Tokens that the server gave. None can be shown again: only its hash is kept.

CREATE TABLE IF NOT EXISTS tokens (
    id         TEXT PRIMARY KEY,    -- 12 digits of hex, no secret
    sha256     BLOB NOT NULL,       -- of the whole token, 32 bytes
    scopes     TEXT NOT NULL,       -- words between spaces: device, query, backend
    catalogues TEXT,                -- names between spaces; NULL for all
    label      TEXT NOT NULL,
    created_at INTEGER NOT NULL,    -- microseconds since 1970-01-01 UTC
    expires_at INTEGER,             -- NULL for never
    revoked_at INTEGER              -- NULL for not
) WITHOUT ROWID;
