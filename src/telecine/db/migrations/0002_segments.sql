-- What an unfinished request got done and paid for, so that another attempt need not do it again.
CREATE TABLE checkpoints (
    request_id  TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
    name        TEXT NOT NULL,                                -- digest of all that determines the work
    body        TEXT NOT NULL,                                -- JSON
    PRIMARY KEY (request_id, name)
) STRICT;

-- Where the price of a computed cost is from, and of what day.
ALTER TABLE ledger ADD COLUMN price_source TEXT;
-- When the upstream is asked next what it cost; NULL: not to be asked (any more).
ALTER TABLE ledger ADD COLUMN settle_at REAL;
ALTER TABLE ledger ADD COLUMN settle_tries INTEGER NOT NULL DEFAULT 0;
CREATE INDEX ledger_settling ON ledger (settle_at) WHERE settle_at IS NOT NULL;

-- Where the request lines up: its model, or what it shares an engine with.
ALTER TABLE requests ADD COLUMN lane TEXT NOT NULL DEFAULT '';
