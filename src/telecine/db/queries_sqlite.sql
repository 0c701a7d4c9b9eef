-- What SQLite says in its own way: it has one writer at a time, so nothing needs to be locked.

-- name: lock_gate
-- From here to the end of the transaction nobody else admits requests or counts what runs.
SELECT 1 AS yes;

-- name: lock_request
-- From here to the end of the transaction nobody else moves this request.
SELECT 1 AS yes;
