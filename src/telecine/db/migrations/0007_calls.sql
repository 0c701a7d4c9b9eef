-- Which call an entry is about: made before the call, so that one written again is the same entry.
ALTER TABLE ledger ADD COLUMN call_id TEXT;
UPDATE ledger SET call_id = 'entry ' || id;
CREATE UNIQUE INDEX ledger_by_call ON ledger (call_id);
