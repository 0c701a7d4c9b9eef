-- A database of schema 0006 with rows in every table, as the program wrote it that had this schema:
-- the dump of Python's sqlite3, and the number of the schema. Never changed: newer programs read it.
BEGIN TRANSACTION;
CREATE TABLE attempts (
    request_id  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,
    started_at  REAL NOT NULL,
    ended_at    REAL,
    ended_as    TEXT,                                         -- succeeded failed retried cancelled lost handed_back
    detail      TEXT,
    PRIMARY KEY (request_id, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO "attempts" VALUES('00000000-0000-4000-8000-000000000001',1,1763500002.0,1763500003.0,'succeeded',NULL);
INSERT INTO "attempts" VALUES('00000000-0000-4000-8000-000000000002',1,1763500003.0,1763500004.0,'failed','no such model');
INSERT INTO "attempts" VALUES('00000000-0000-4000-8000-000000000005',1,1763500005.0,1763500006.0,'retried',NULL);
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       REAL NOT NULL,
    actor    TEXT NOT NULL,                                   -- a key's id, or 'command line'
    action   TEXT NOT NULL,                                   -- key.created, session.started and the like
    subject  TEXT NOT NULL DEFAULT '',                        -- the id of what it was done to
    detail   TEXT NOT NULL DEFAULT '{}'                       -- JSON, without secrets
) STRICT;
INSERT INTO "audit" VALUES(1,1763500000.0,'command line','key.created','0a1b2c3d-0000-4000-8000-000000000001','{"alias": "a"}');
CREATE TABLE checkpoints (
    request_id  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,                                -- digest of all that determines the work
    body        TEXT NOT NULL,                                -- JSON
    PRIMARY KEY (request_id, name)
) STRICT;
INSERT INTO "checkpoints" VALUES('00000000-0000-4000-8000-000000000003','digest','{"text": "a piece"}');
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
, key_id TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "deliveries" VALUES(1,'00000000-0000-4000-8000-000000000001','https://hooks.example.org/a','hooks.example.org','waiting',1,4000000000.0,1763500003.0,NULL,'0a1b2c3d-0000-4000-8000-000000000001');
INSERT INTO "deliveries" VALUES(2,'00000000-0000-4000-8000-000000000001','https://hooks.example.org/a','hooks.example.org','dead',10,1763500000.0,1763500000.0,4000000000.0,'0a1b2c3d-0000-4000-8000-000000000001');
CREATE TABLE delivery_attempts (
    delivery_id  INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    attempt      INTEGER NOT NULL,
    at           REAL NOT NULL,
    seconds      REAL,                                        -- NULL: under way
    status       INTEGER,                                     -- NULL: no answer
    detail       TEXT NOT NULL DEFAULT '',                    -- head of the answer, or what went wrong
    PRIMARY KEY (delivery_id, attempt)
) STRICT, WITHOUT ROWID;
INSERT INTO "delivery_attempts" VALUES(1,1,1763500003.0,0.2,503,'try later');
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
INSERT INTO "files" VALUES('fileone','0a1b2c3d-0000-4000-8000-000000000001','abababab/cd/01','a.mp4','video/mp4',12,NULL,NULL,1763500000.0,4000000000.0,NULL);
INSERT INTO "files" VALUES('filetwo','0a1b2c3d-0000-4000-8000-000000000002',NULL,'b.mp4','video/mp4',0,'00',4000000000.0,1763500000.0,NULL,'{"default":"allow","rules":[]}');
CREATE TABLE keys (
    id           TEXT PRIMARY KEY,                            -- public half, a UUID
    secret_hash  TEXT NOT NULL,                               -- hex SHA-256 of the secret half (128 random bits)
    alias        TEXT NOT NULL DEFAULT '',
    scopes       TEXT NOT NULL DEFAULT 'API',                 -- space-separated: API ADMIN
    created_at   REAL NOT NULL,
    expires_at   REAL,
    revoked_at   REAL,
    last_used_at REAL
, models TEXT, per_minute INTEGER, running INTEGER, budget TEXT, budget_per TEXT NOT NULL DEFAULT 'month') STRICT;
INSERT INTO "keys" VALUES('0a1b2c3d-0000-4000-8000-000000000001','39237098fb14ea8e521c17c1093c003805aef6d97ad0ced2b91467e6240c3e08','first','API ADMIN',1763500000.0,NULL,NULL,1763500009.0,'["echo/*"]',60,2,'5','day');
INSERT INTO "keys" VALUES('0a1b2c3d-0000-4000-8000-000000000002','0d6cc9df414441f0014bf23d1ba71da150f54b2b56e99906a9553231d05b6bfe','program','API',1763500000.0,NULL,NULL,1763500009.0,NULL,NULL,NULL,NULL,'month');
INSERT INTO "keys" VALUES('0a1b2c3d-0000-4000-8000-000000000003','283bb9deef02e6843abfb538efa1eca70801bd8a701c3f98191e123496339247','revoked','API',1763500000.0,NULL,1763500001.0,NULL,NULL,NULL,NULL,NULL,'month');
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
, price_source TEXT, settle_at REAL, settle_tries INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "ledger" VALUES(1,'00000000-0000-4000-8000-000000000001',1,'0a1b2c3d-0000-4000-8000-000000000001','openrouter/router/video','queue','openrouter','google/gemini-2.5-flash',1763500003.0,1000,20,1020,'0.0123','billed','gen-1',NULL,NULL,0);
INSERT INTO "ledger" VALUES(2,'00000000-0000-4000-8000-000000000001',1,'0a1b2c3d-0000-4000-8000-000000000001','openrouter/router/video','queue','openrouter','google/gemini-2.5-flash',1763500004.0,1000,20,1020,'0.000000000001','computed','gen-1',NULL,NULL,0);
INSERT INTO "ledger" VALUES(3,'00000000-0000-4000-8000-000000000002',1,'0a1b2c3d-0000-4000-8000-000000000002','openrouter/router/video','queue','openrouter','google/gemini-2.5-flash',1763500004.0,1000,20,1020,NULL,'unknown','gen-2',NULL,NULL,0);
INSERT INTO "ledger" VALUES(4,'00000000-0000-4000-8000-000000000005',1,'0a1b2c3d-0000-4000-8000-000000000001','openrouter/router/video','queue','openrouter','google/gemini-2.5-flash',1763586400.0,1000,20,1020,'1.5','billed','gen-5',NULL,NULL,0);
INSERT INTO "ledger" VALUES(5,'00000000-0000-4000-8000-000000000006',1,'0a1b2c3d-0000-4000-8000-000000000002','openrouter/router/video','queue','openrouter','google/gemini-2.5-flash',1763500007.0,1000,20,1020,'0','free','gen-6',NULL,NULL,0);
INSERT INTO "ledger" VALUES(6,'00000000-0000-4000-8000-000000000001',1,'0a1b2c3d-0000-4000-8000-000000000001','openrouter/router/video','queue','openrouter','google/gemini-2.5-flash',1763500003.0,1000,20,1020,NULL,'unknown','gen-6',NULL,4000000000.0,0);
CREATE TABLE logs (
    request_id  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    at          REAL NOT NULL,
    level       TEXT NOT NULL,
    message     TEXT NOT NULL,
    PRIMARY KEY (request_id, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO "logs" VALUES('00000000-0000-4000-8000-000000000001',0,1763500002.0,'INFO','asking echo');
INSERT INTO "logs" VALUES('00000000-0000-4000-8000-000000000001',1,1763500003.0,'INFO','done');
CREATE TABLE objects (
    key         TEXT PRIMARY KEY,                             -- random; where storage has the bytes
    sha256      TEXT NOT NULL UNIQUE,
    bytes       INTEGER NOT NULL,
    created_at  REAL NOT NULL,
    probe       TEXT                                          -- JSON of what probing found; NULL: not probed
) STRICT;
INSERT INTO "objects" VALUES('abababab/cd/01','58831986bf022035197bd05d44de7eb9b1f5a6cac36994a862a7164c5ead0b41',12,1763500000.0,NULL);
INSERT INTO "objects" VALUES('abababab/cd/02','3513ae1a39086c2a2738daa630b9e2f304f41b5945228e0741a117a508fc51b9',6,1763500000.0,NULL);
CREATE TABLE pins (
    request_id  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    object      TEXT NOT NULL REFERENCES objects (key),
    PRIMARY KEY (request_id, object)
) STRICT, WITHOUT ROWID;
INSERT INTO "pins" VALUES('00000000-0000-4000-8000-000000000003','abababab/cd/01');
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
, lane TEXT NOT NULL DEFAULT '', node TEXT NOT NULL DEFAULT '') STRICT;
INSERT INTO "requests" VALUES(1,'00000000-0000-4000-8000-000000000001','openrouter/router/video','queue','0a1b2c3d-0000-4000-8000-000000000001','echo/echo','succeeded',0,1,0,0,0.0,NULL,0,0,1,'{"prompt": "What is said?", "model": "echo/echo"}','{}','https://hooks.example.org/a',1763500001.0,1763500002.0,1763500003.0,200,200,'{"content-type":"application/json"}','{"output":"What is said?"}',NULL,NULL,'{"model":"echo/echo"}',1.0,NULL,4000000000.0,'','');
INSERT INTO "requests" VALUES(2,'00000000-0000-4000-8000-000000000002','openrouter/router/video','run','0a1b2c3d-0000-4000-8000-000000000002','echo/echo','failed',0,1,0,0,0.0,NULL,0,0,1,'{"prompt": "What is said?", "model": "echo/echo"}','{}',NULL,1763500002.0,1763500003.0,1763500004.0,422,422,'{"content-type":"application/json"}','{"detail":[]}','no such model','value_error',NULL,1.0,NULL,4000000000.0,'','');
INSERT INTO "requests" VALUES(3,'00000000-0000-4000-8000-000000000003','openrouter/router/video','queue','0a1b2c3d-0000-4000-8000-000000000001','echo/echo','running',0,1,0,0,0.0,NULL,0,0,1,'{"prompt": "What is said?", "model": "echo/echo"}','{}',NULL,1763500003.0,1763500005.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'','');
INSERT INTO "requests" VALUES(4,'00000000-0000-4000-8000-000000000004','openrouter/router/video','queue','0a1b2c3d-0000-4000-8000-000000000001','echo/echo','queued',1,0,0,0,0.0,NULL,0,0,1,'{"prompt": "What is said?", "model": "echo/echo"}','{}',NULL,1763500004.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'once',NULL,'','');
INSERT INTO "requests" VALUES(5,'00000000-0000-4000-8000-000000000005','openrouter/router/video','queue','0a1b2c3d-0000-4000-8000-000000000001','echo/echo','queued',0,1,1,0,1763500060.0,NULL,0,0,1,'{"prompt": "What is said?", "model": "echo/echo"}','{}',NULL,1763500005.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'','');
INSERT INTO "requests" VALUES(6,'00000000-0000-4000-8000-000000000006','openrouter/router/video','queue','0a1b2c3d-0000-4000-8000-000000000002','echo/echo','cancelled',0,0,0,0,0.0,NULL,1,0,1,NULL,'{}',NULL,1763500006.0,NULL,1763500007.0,499,499,'{"content-type":"application/json"}','{"detail":"Request was cancelled","error_type":"client_cancelled"}','Request was cancelled','client_cancelled',NULL,NULL,NULL,4000000000.0,'','');
CREATE TABLE sandbox_columns (
    sandbox_id  TEXT NOT NULL REFERENCES sandboxes (id) ON DELETE CASCADE,
    place       INTEGER NOT NULL,
    model       TEXT NOT NULL,
    request_id  TEXT,                                         -- the call that its result is of
    result      TEXT,                                         -- JSON, as this server had it when it was saved
    PRIMARY KEY (sandbox_id, place)
) STRICT, WITHOUT ROWID;
INSERT INTO "sandbox_columns" VALUES('sandboxone',0,'echo/echo','00000000-0000-4000-8000-000000000001','{"output":"What is said?"}');
INSERT INTO "sandbox_columns" VALUES('sandboxone',1,'local/report',NULL,NULL);
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
INSERT INTO "sandboxes" VALUES('sandboxone','0a1b2c3d-0000-4000-8000-000000000001','linkone','What is said?','openrouter/router/video','{"prompt": "What is said?"}',1763500008.0,1763500009.0);
CREATE TABLE spending (
    key_id  TEXT NOT NULL,
    day     TEXT NOT NULL,                                    -- 2026-11-22, UTC
    pico    INTEGER NOT NULL,
    PRIMARY KEY (key_id, day)
) STRICT, WITHOUT ROWID;
INSERT INTO "spending" VALUES('0a1b2c3d-0000-4000-8000-000000000001','2025-11-18',12300000001);
INSERT INTO "spending" VALUES('0a1b2c3d-0000-4000-8000-000000000001','2025-11-19',1500000000000);
INSERT INTO "spending" VALUES('0a1b2c3d-0000-4000-8000-000000000002','2025-11-18',0);
CREATE TABLE storage_settings (
    key_id           TEXT PRIMARY KEY,
    expires_seconds  REAL,                                    -- NULL: as the installation has it
    acl              TEXT                                     -- JSON; NULL: public
) STRICT, WITHOUT ROWID;
INSERT INTO "storage_settings" VALUES('0a1b2c3d-0000-4000-8000-000000000001',3600.0,NULL);
CREATE TABLE turns (
    key_id  TEXT PRIMARY KEY,
    served  INTEGER NOT NULL                                  -- grows with every admission
) STRICT, WITHOUT ROWID;
INSERT INTO "turns" VALUES('0a1b2c3d-0000-4000-8000-000000000001',3);
INSERT INTO "turns" VALUES('0a1b2c3d-0000-4000-8000-000000000002',2);
CREATE TABLE upload_parts (
    file_id  TEXT NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    number   INTEGER NOT NULL,
    object   TEXT NOT NULL REFERENCES objects (key),
    etag     TEXT NOT NULL,
    bytes    INTEGER NOT NULL,
    PRIMARY KEY (file_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "upload_parts" VALUES('filetwo',1,'abababab/cd/02','etag',6);
CREATE INDEX requests_running ON requests (key_id, model, mode) WHERE state = 'running';
CREATE INDEX requests_stopping ON requests (id) WHERE state = 'running' AND cancel_requested = 1;
CREATE INDEX requests_starting ON requests (start_by) WHERE state = 'queued' AND start_by IS NOT NULL;
CREATE INDEX requests_ended ON requests (
    finished_at, endpoint, key_id, status_code, error_type, created_at, started_at
) WHERE finished_at IS NOT NULL;
CREATE INDEX requests_expiring ON requests (expires_at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX requests_idempotency ON requests (key_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX ledger_by_time ON ledger (at);
CREATE INDEX ledger_by_request ON ledger (request_id);
CREATE INDEX files_by_key ON files (key_id, bytes);
CREATE INDEX files_by_object ON files (object);
CREATE INDEX files_expiring ON files (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX upload_parts_by_object ON upload_parts (object);
CREATE INDEX pins_by_object ON pins (object);
CREATE INDEX deliveries_waiting ON deliveries (next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_host ON deliveries (host, next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_by_request ON deliveries (request_id);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX delivery_attempts_open ON delivery_attempts (delivery_id) WHERE seconds IS NULL;
CREATE INDEX ledger_settling ON ledger (settle_at) WHERE settle_at IS NOT NULL;
CREATE TRIGGER ledger_spent AFTER INSERT ON ledger WHEN new.cost IS NOT NULL
BEGIN
    INSERT INTO spending (key_id, day, pico)
    VALUES (new.key_id, date(new.at, 'unixepoch'), CAST(round(CAST(new.cost AS REAL) * 1e12) AS INTEGER))
    ON CONFLICT (key_id, day) DO UPDATE SET pico = pico + excluded.pico;
END;
CREATE TRIGGER ledger_settled AFTER UPDATE OF cost ON ledger WHEN old.cost IS NOT new.cost
BEGIN
    INSERT INTO spending (key_id, day, pico)
    VALUES (
        new.key_id, date(new.at, 'unixepoch'),
        CAST(round(coalesce(CAST(new.cost AS REAL), 0) * 1e12) AS INTEGER)
        - CAST(round(coalesce(CAST(old.cost AS REAL), 0) * 1e12) AS INTEGER)
    )
    ON CONFLICT (key_id, day) DO UPDATE SET pico = pico + excluded.pico;
END;
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX requests_waiting ON requests (key_id, lane, priority, seq) WHERE state = 'queued';
CREATE INDEX requests_due ON requests (not_before) WHERE state = 'queued';
CREATE INDEX requests_by_key ON requests (key_id, seq);
CREATE INDEX deliveries_by_key ON deliveries (key_id, id);
CREATE INDEX deliveries_by_state ON deliveries (state, id);
CREATE INDEX requests_by_time ON requests (
    created_at, seq, state, mode, key_id, endpoint, model, id, error_type
);
CREATE INDEX files_by_time ON files (created_at, id);
CREATE INDEX sandboxes_by_key ON sandboxes (key_id, updated_at);
CREATE INDEX sandbox_columns_by_request ON sandbox_columns (request_id) WHERE request_id IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('requests',6);
INSERT INTO "sqlite_sequence" VALUES('ledger',6);
INSERT INTO "sqlite_sequence" VALUES('deliveries',2);
INSERT INTO "sqlite_sequence" VALUES('audit',1);
COMMIT;
PRAGMA user_version = 6;
