-- The same input asked of several models, saved to be looked at again.
CREATE TABLE sandboxes (
    id          TEXT PRIMARY KEY,
    key_id      TEXT NOT NULL,
    link        TEXT UNIQUE,                                  -- whoever is signed in and knows it may read; NULL: nobody
    name        TEXT NOT NULL,
    endpoint    TEXT NOT NULL,
    input       TEXT NOT NULL,                                -- JSON, without the model
    created_at  REAL NOT NULL,
    updated_at  REAL NOT NULL
) STRICT;
CREATE INDEX sandboxes_by_key ON sandboxes (key_id, updated_at);

CREATE TABLE sandbox_columns (
    sandbox_id  TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    place       INTEGER NOT NULL,
    model       TEXT NOT NULL,
    request_id  TEXT,                                         -- the call that its result is of
    result      TEXT,                                         -- JSON, as this server had it when it was saved
    PRIMARY KEY (sandbox_id, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX sandbox_columns_by_request ON sandbox_columns (request_id) WHERE request_id IS NOT NULL;
