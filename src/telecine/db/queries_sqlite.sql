-- What SQLite says in its own way. It has one writer at a time, so nothing needs to be locked.

-- name: lock_gate
-- From here to the end of the transaction nobody else admits requests or counts what runs.
SELECT 1 AS yes;

-- name: lock_request
-- From here to the end of the transaction nobody else moves this request.
SELECT 1 AS yes;

-- name: admit_requests
-- queued -> running, for those of a JSON list that wait: a new attempt begins, and its number is the
-- fence of its finish.
UPDATE requests SET state = 'running', attempt = attempt + 1, started_at = :now, node = ''
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'queued'
RETURNING id;
