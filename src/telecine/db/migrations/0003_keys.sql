-- What a key may do at most; NULL: no limit of its own.
ALTER TABLE keys ADD COLUMN models TEXT;                      -- JSON list of names; one that ends in * is a beginning
ALTER TABLE keys ADD COLUMN per_minute INTEGER;               -- calls
ALTER TABLE keys ADD COLUMN running INTEGER;                  -- requests at once, of any mode
ALTER TABLE keys ADD COLUMN budget TEXT;                      -- decimal US dollars
ALTER TABLE keys ADD COLUMN budget_per TEXT NOT NULL DEFAULT 'month';  -- day month total (UTC)

-- What each key spent per day, in trillionths of a dollar: what a budget is held against. Triggers keep it, so
-- that nothing gets into the ledger past it.
CREATE TABLE spending (
    key_id  TEXT NOT NULL,
    day     TEXT NOT NULL,                                    -- 2026-11-22, UTC
    pico    INTEGER NOT NULL,
    PRIMARY KEY (key_id, day)
) STRICT, WITHOUT ROWID;

INSERT INTO spending (key_id, day, pico)
SELECT key_id, date(at, 'unixepoch'), sum(CAST(round(CAST(cost AS REAL) * 1e12) AS INTEGER))
FROM ledger WHERE cost IS NOT NULL GROUP BY key_id, date(at, 'unixepoch');

CREATE TRIGGER ledger_spent AFTER INSERT ON ledger WHEN new.cost IS NOT NULL
BEGIN
    INSERT INTO spending (key_id, day, pico)
    VALUES (new.key_id, date(new.at, 'unixepoch'), CAST(round(CAST(new.cost AS REAL) * 1e12) AS INTEGER))
    ON CONFLICT (key_id, day) DO UPDATE SET pico = pico + excluded.pico;
END;

-- A cost that was not known yet, and is told later.
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

-- Who changed what: append-only.
CREATE TABLE audit (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    at       REAL NOT NULL,
    actor    TEXT NOT NULL,                                   -- a key's id, or 'command line'
    action   TEXT NOT NULL,                                   -- key.created, session.started and the like
    subject  TEXT NOT NULL DEFAULT '',                        -- the id of what it was done to
    detail   TEXT NOT NULL DEFAULT '{}'                       -- JSON, without secrets
) STRICT;
CREATE INDEX audit_by_time ON audit (at);
