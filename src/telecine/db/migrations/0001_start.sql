-- Times are UTC epoch seconds. Flags are 0/1. Decimals and JSON are text.

-- One row per request of any mode. `requests` is truth and policy: who may run, position, cancel, result.
CREATE TABLE requests (
    seq               INTEGER PRIMARY KEY AUTOINCREMENT,      -- arrival order
    id                TEXT NOT NULL UNIQUE,                   -- the caller's request_id, a UUID
    endpoint          TEXT NOT NULL,
    mode              TEXT NOT NULL,                          -- run stream queue
    key_id            TEXT NOT NULL,
    model             TEXT NOT NULL DEFAULT '',               -- as asked for; '' when the input has none
    state             TEXT NOT NULL,                          -- queued running succeeded failed cancelled
    priority          INTEGER NOT NULL DEFAULT 0,             -- 0 normal, 1 low
    attempt           INTEGER NOT NULL DEFAULT 0,             -- grows with every start; the fence of every finish
    failures          INTEGER NOT NULL DEFAULT 0,             -- attempts that ended in a retryable failure
    losses            INTEGER NOT NULL DEFAULT 0,             -- attempts that ended with their worker
    not_before        REAL NOT NULL DEFAULT 0,                -- a retry waits until then
    start_by          REAL,                                   -- start deadline (X-Fal-Request-Timeout)
    cancel_requested  INTEGER NOT NULL DEFAULT 0,
    no_retry          INTEGER NOT NULL DEFAULT 0,
    store_io          INTEGER NOT NULL DEFAULT 1,
    input             TEXT,                                   -- the JSON as sent, placeholders for large data URIs
    attachments       TEXT NOT NULL DEFAULT '{}',             -- placeholder -> the Attachment's fields
    webhook_url       TEXT,
    created_at        REAL NOT NULL,
    started_at        REAL,
    finished_at       REAL,
    status_code       INTEGER,                                -- of the answer; stays when the payloads go
    result_status     INTEGER,
    result_headers    TEXT,
    result_body       TEXT,
    error             TEXT,
    error_type        TEXT,
    receipt           TEXT,
    inference_seconds REAL,
    idempotency_key   TEXT,
    expires_at        REAL                                    -- payloads go then; set at finish
) STRICT;
CREATE INDEX requests_waiting ON requests (key_id, model, priority, seq) WHERE state = 'queued';
CREATE INDEX requests_running ON requests (key_id, model, mode) WHERE state = 'running';
CREATE INDEX requests_stopping ON requests (id) WHERE state = 'running' AND cancel_requested = 1;
CREATE INDEX requests_starting ON requests (start_by) WHERE state = 'queued' AND start_by IS NOT NULL;
CREATE INDEX requests_by_time ON requests (created_at);
-- Reports read this instead of the rows, which may hold megabytes each.
CREATE INDEX requests_ended ON requests (
    finished_at, endpoint, key_id, status_code, error_type, created_at, started_at
) WHERE finished_at IS NOT NULL;
CREATE INDEX requests_expiring ON requests (expires_at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX requests_idempotency ON requests (key_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Whose turn it was: keys that wait are served in rounds, the one longest ago first.
CREATE TABLE turns (
    key_id  TEXT PRIMARY KEY,
    served  INTEGER NOT NULL                                  -- grows with every admission
) STRICT, WITHOUT ROWID;

CREATE TABLE logs (
    request_id  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    at          REAL NOT NULL,
    level       TEXT NOT NULL,
    message     TEXT NOT NULL,
    PRIMARY KEY (request_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    request_id  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,
    started_at  REAL NOT NULL,
    ended_at    REAL,
    ended_as    TEXT,                                         -- succeeded failed retried cancelled lost handed_back
    detail      TEXT,
    PRIMARY KEY (request_id, attempt)
) STRICT, WITHOUT ROWID;

-- Append-only: what each attempt that reached a model used and cost.
CREATE TABLE ledger (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id        TEXT NOT NULL,
    attempt           INTEGER NOT NULL,
    key_id            TEXT NOT NULL,
    endpoint          TEXT NOT NULL,
    mode              TEXT NOT NULL,
    provider          TEXT NOT NULL,
    model             TEXT NOT NULL,
    at                REAL NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    total_tokens      INTEGER NOT NULL,
    cost              TEXT,                                   -- decimal US dollars; NULL: unknown
    cost_source       TEXT NOT NULL,                          -- billed computed free unknown
    upstream_id       TEXT
) STRICT;
CREATE INDEX ledger_by_time ON ledger (at);
CREATE INDEX ledger_by_request ON ledger (request_id);

CREATE TABLE keys (
    id           TEXT PRIMARY KEY,                            -- public half, a UUID
    secret_hash  TEXT NOT NULL,                               -- hex SHA-256 of the secret half (128 random bits)
    alias        TEXT NOT NULL DEFAULT '',
    scopes       TEXT NOT NULL DEFAULT 'API',                 -- space-separated: API ADMIN
    created_at   REAL NOT NULL,
    expires_at   REAL,
    revoked_at   REAL,
    last_used_at REAL
) STRICT;

-- Bytes, once per content, however many files and requests point at them. Keys are never used twice,
-- so deleting the bytes of a row that is gone can not race with somebody keeping the same content again.
CREATE TABLE objects (
    key         TEXT PRIMARY KEY,                             -- random; where storage has the bytes
    sha256      TEXT NOT NULL UNIQUE,
    bytes       INTEGER NOT NULL,
    created_at  REAL NOT NULL,
    probe       TEXT                                          -- JSON of what probing found; NULL: not probed
) STRICT;

-- What a file URL points at. Ids are random: knowing the content does not tell the address.
CREATE TABLE files (
    id            TEXT PRIMARY KEY,
    key_id        TEXT NOT NULL,
    object        TEXT REFERENCES objects (key),              -- NULL until the upload is complete
    name          TEXT NOT NULL,
    content_type  TEXT NOT NULL,
    bytes         INTEGER NOT NULL DEFAULT 0,
    upload_hash   TEXT,                                       -- hash of the upload URL's secret
    upload_until  REAL,
    created_at    REAL NOT NULL,
    expires_at    REAL,
    acl           TEXT                                        -- JSON: who may read it; NULL: whoever knows its URL
) STRICT;
CREATE INDEX files_by_key ON files (key_id, bytes);
CREATE INDEX files_by_object ON files (object);
CREATE INDEX files_expiring ON files (expires_at) WHERE expires_at IS NOT NULL;

-- What a key's next uploads are like when they say nothing themselves.
CREATE TABLE storage_settings (
    key_id           TEXT PRIMARY KEY,
    expires_seconds  REAL,                                    -- NULL: as the installation has it
    acl              TEXT                                     -- JSON; NULL: public
) STRICT, WITHOUT ROWID;

-- Parts of multipart uploads under way.
CREATE TABLE upload_parts (
    file_id  TEXT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    number   INTEGER NOT NULL,
    object   TEXT NOT NULL REFERENCES objects (key),
    etag     TEXT NOT NULL,
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (file_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX upload_parts_by_object ON upload_parts (object);

-- What unfinished requests still need, whatever its expiry.
CREATE TABLE pins (
    request_id  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    object      TEXT NOT NULL REFERENCES objects (key),
    PRIMARY KEY (request_id, object)
) STRICT, WITHOUT ROWID;
CREATE INDEX pins_by_object ON pins (object);

-- A webhook that is to be sent, once per request and replay.
CREATE TABLE deliveries (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id    TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    url           TEXT NOT NULL,
    host          TEXT NOT NULL,                              -- of the URL, with its port: who shares a receiver
    state         TEXT NOT NULL,                              -- waiting delivered dead
    attempts      INTEGER NOT NULL DEFAULT 0,                 -- begun so far; the fence of every outcome
    next_at       REAL NOT NULL,                              -- due then; while an attempt is under way: lost then
    created_at    REAL NOT NULL,
    ended_at      REAL
) STRICT;
CREATE INDEX deliveries_waiting ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_host ON deliveries (host, next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_request ON deliveries (request_id);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;

-- Written when the attempt begins, before anything is sent.
CREATE TABLE delivery_attempts (
    delivery_id  INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    attempt      INTEGER NOT NULL,
    at           REAL NOT NULL,
    seconds      REAL,                                        -- NULL: under way
    status       INTEGER,                                     -- NULL: no answer
    detail       TEXT NOT NULL DEFAULT '',                    -- head of the answer, or what went wrong
    PRIMARY KEY (delivery_id, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_attempts_open ON delivery_attempts (delivery_id) WHERE seconds IS NULL;
