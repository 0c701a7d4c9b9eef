-- Every statement, under the name that the code asks for it by, with a sentence on what it is for.
-- Times are UTC epoch seconds, flags 0/1; parameters are named. Only what SQLite and PostgreSQL
-- both understand.


-- ================================================================ requests: arrival

-- name: insert_request
-- A request as it arrives; `seq` becomes its place in the order of arrival. Once.
INSERT INTO requests (
    id, endpoint, mode, key_id, model, lane, state, priority, attempt, start_by, no_retry, store_io,
    input, attachments, webhook_url, created_at, started_at, idempotency_key, node
) VALUES (
    :id, :endpoint, :mode, :key_id, :model, :lane, :state, :priority, :attempt, :start_by, :no_retry,
    :store_io, :input, :attachments, :webhook_url, :created_at, :started_at, :idempotency_key, :node
)
ON CONFLICT (id) DO NOTHING;

-- name: count_waiting
-- How many requests wait.
SELECT count(*) AS n FROM requests WHERE state = 'queued';

-- name: waits_more_than
-- A row if more than so many requests wait; the count stops there.
SELECT 1 AS yes FROM requests WHERE state = 'queued' LIMIT 1 OFFSET :number;

-- name: request_by_idempotency_key
-- The first request that this caller sent under this key, and when.
SELECT id, created_at FROM requests WHERE key_id = :key_id AND idempotency_key = :idempotency_key;

-- name: forget_idempotency_key
-- Makes an outlived key free again.
UPDATE requests SET idempotency_key = NULL
WHERE key_id = :key_id AND idempotency_key = :idempotency_key AND created_at <= :before;

-- name: insert_pin
-- Keeps an object for as long as the request is unfinished; nothing if the object is gone already.
INSERT INTO pins (request_id, object)
SELECT :request_id, key FROM objects WHERE key = :object
ON CONFLICT DO NOTHING;

-- name: delete_pins
-- What a finished request no longer needs.
DELETE FROM pins WHERE request_id = :request_id;


-- ================================================================ requests: the gate

-- name: running_of_key
-- How many of a key's requests run now, of any mode.
SELECT count(*) AS n FROM requests WHERE state = 'running' AND key_id = :key_id;

-- name: count_running
-- What runs now, of any mode, per key and model.
SELECT key_id, model, mode, count(*) AS n FROM requests
WHERE state = 'running' GROUP BY key_id, model, mode;

-- name: first_waiting
-- The first :each due requests of every pair of key and lane that has any. However deep the
-- queue, it touches only those: a loose scan over the index hops from pair to pair.
WITH RECURSIVE pair (seq) AS (
    SELECT * FROM (
        SELECT seq FROM requests WHERE state = 'queued'
        ORDER BY key_id, lane, priority, seq LIMIT 1
    ) AS first
    UNION ALL
    SELECT coalesce(
        (
            SELECT later.seq FROM requests AS later
            WHERE later.state = 'queued'
              AND later.key_id = here.key_id AND later.lane > here.lane
            ORDER BY later.lane, later.priority, later.seq LIMIT 1
        ),
        (
            SELECT later.seq FROM requests AS later
            WHERE later.state = 'queued' AND later.key_id > here.key_id
            ORDER BY later.key_id, later.lane, later.priority, later.seq LIMIT 1
        )
    )
    FROM pair JOIN requests AS here ON here.seq = pair.seq
)
SELECT waiting.seq, waiting.id, waiting.key_id, waiting.model, waiting.priority,
       coalesce((SELECT served FROM turns WHERE turns.key_id = waiting.key_id), 0) AS served,
       (SELECT running FROM keys WHERE keys.id = waiting.key_id) AS most
FROM pair
JOIN requests AS head ON head.seq = pair.seq
JOIN requests AS waiting ON waiting.seq IN (
    SELECT due.seq FROM requests AS due
    WHERE due.state = 'queued' AND due.key_id = head.key_id AND due.lane = head.lane
      AND due.not_before <= :now
    ORDER BY due.priority, due.seq LIMIT :each
);

-- name: waiting_models
-- Which models are waited for, and in which lane each lines up.
SELECT DISTINCT model, lane FROM requests WHERE state = 'queued';

-- name: change_lane
-- Those that wait for a model line up somewhere else from now on: the settings are others.
UPDATE requests SET lane = :lane WHERE state = 'queued' AND model = :model AND lane <> :lane;

-- name: take_turn
-- Sends a key to the end of its round.
INSERT INTO turns (key_id, served)
SELECT :key_id, coalesce(max(served), 0) + 1 FROM turns WHERE true
ON CONFLICT (key_id) DO UPDATE SET served = excluded.served;

-- name: overdue_requests
-- Those that were to start by now and never did.
SELECT id, attempt FROM requests
WHERE state = 'queued' AND start_by <= :now AND attempt = 0;

-- name: gate_agenda
-- Whether the gate has anything to do, and which running requests somebody wants stopped.
SELECT 'due' AS what, '' AS id
WHERE EXISTS (SELECT 1 FROM requests WHERE state = 'queued' AND not_before <= :now)
UNION ALL
SELECT 'stop', id FROM requests WHERE state = 'running' AND cancel_requested = 1;

-- name: next_due
-- When the next retry comes due, and the last one; when the next request is to have started.
SELECT (SELECT min(not_before) FROM requests WHERE state = 'queued' AND not_before > :now) AS retry_at,
       (SELECT max(not_before) FROM requests WHERE state = 'queued') AS last_retry_at,
       (SELECT min(start_by) FROM requests WHERE state = 'queued' AND start_by > :now) AS start_by;

-- name: mend_retries
-- Makes due what no retry would be put off for so long: the clock was set back.
UPDATE requests SET not_before = :now WHERE state = 'queued' AND not_before > :latest;

-- name: queue_position
-- How many start before this request if nothing else arrives, limits aside: in rounds, as the
-- gate serves the keys.
WITH line AS (
    SELECT waiting.seq, waiting.priority, coalesce(turns.served, 0) AS served,
           row_number() OVER own AS round, first_value(waiting.seq) OVER own AS first
    FROM requests AS waiting LEFT JOIN turns ON turns.key_id = waiting.key_id
    WHERE waiting.state = 'queued'
    WINDOW own AS (PARTITION BY waiting.key_id, waiting.priority ORDER BY waiting.seq)
)
SELECT count(*) AS n FROM line JOIN line AS mine ON mine.seq = :seq
WHERE (line.priority, line.round, line.served, line.first)
    < (mine.priority, mine.round, mine.served, mine.first);

-- name: queue_position_by_age
-- The same without regard to keys: what a deep queue can afford to be asked ten times a second.
SELECT count(*) AS n FROM requests AS line JOIN requests AS mine ON mine.seq = :seq
WHERE line.state = 'queued' AND (line.priority, line.seq) < (mine.priority, mine.seq);


-- ================================================================ requests: the run

-- name: load_request
-- What a worker needs to run an admitted request; nothing if it runs on another node.
SELECT id, endpoint, mode, key_id, attempt, failures, cancel_requested, no_retry, input,
       attachments, started_at,
       (SELECT coalesce(max(seq), 0) FROM logs WHERE request_id = requests.id) AS last_log
FROM requests WHERE id = :id AND state = 'running' AND node = :node;

-- name: finish_request
-- running (this attempt) -> succeeded | failed | cancelled. No row: somebody else was first.
UPDATE requests SET
    state = :state, finished_at = :now, result_status = :result_status,
    status_code = :result_status, result_headers = :result_headers, result_body = :result_body,
    error = :error, error_type = :error_type, receipt = :receipt,
    inference_seconds = :inference_seconds,
    input = CASE WHEN store_io = 1 THEN input END,
    expires_at = CAST(:now AS DOUBLE PRECISION) + CASE WHEN store_io = 1
        THEN CAST(:keep_seconds AS DOUBLE PRECISION) ELSE CAST(:brief_seconds AS DOUBLE PRECISION) END
WHERE id = :id AND attempt = :attempt AND state = 'running'
RETURNING webhook_url;

-- name: finish_waiting_request
-- queued -> failed | cancelled, for one that will not start (again). No row: it is not waiting.
UPDATE requests SET
    state = :state, finished_at = :now, result_status = :result_status,
    status_code = :result_status, result_headers = :result_headers, result_body = :result_body,
    error = :error, error_type = :error_type,
    input = CASE WHEN store_io = 1 THEN input END,
    expires_at = CAST(:now AS DOUBLE PRECISION) + CASE WHEN store_io = 1
        THEN CAST(:keep_seconds AS DOUBLE PRECISION) ELSE CAST(:brief_seconds AS DOUBLE PRECISION) END
WHERE id = :id AND state = 'queued'
RETURNING webhook_url;

-- name: requeue_request
-- running (this attempt) -> queued, to be tried again not before :not_before.
UPDATE requests SET
    state = 'queued', not_before = :not_before,
    failures = failures + :failures, losses = losses + :losses
WHERE id = :id AND attempt = :attempt AND state = 'running' AND cancel_requested = 0;

-- name: request_cancel
-- Asks for a running request to be stopped.
UPDATE requests SET cancel_requested = 1 WHERE id = :id AND mode = 'queue' AND state = 'running';

-- name: running_requests
-- What a worker that died left behind.
SELECT id, mode, attempt, losses, cancel_requested, started_at FROM requests
WHERE state = 'running';

-- name: insert_attempt
-- How an attempt went; written once, at its end.
INSERT INTO attempts (request_id, attempt, started_at, ended_at, ended_as, detail)
VALUES (:request_id, :attempt, :started_at, :ended_at, :ended_as, :detail)
ON CONFLICT DO NOTHING;

-- name: insert_log
-- One line of a request's log.
INSERT INTO logs (request_id, seq, at, level, message)
VALUES (:request_id, :seq, :at, :level, :message)
ON CONFLICT DO NOTHING;

-- name: insert_ledger_entry
-- What a call to a model used and cost, once per call. Append-only, but for a cost that was not known
-- (settle_entry).
INSERT INTO ledger (
    call_id, request_id, attempt, key_id, endpoint, mode, provider, model, at, prompt_tokens,
    completion_tokens, total_tokens, cost, cost_source, upstream_id, price_source, settle_at
) VALUES (
    :call_id, :request_id, :attempt, :key_id, :endpoint, :mode, :provider, :model, :at, :prompt_tokens,
    :completion_tokens, :total_tokens, :cost, :cost_source, :upstream_id, :price_source, :settle_at
)
ON CONFLICT (call_id) DO NOTHING;


-- ================================================================ requests: what is asked about them

-- name: queued_request
-- A request that came through the queue, without its payloads.
SELECT seq, id, endpoint, mode, key_id, state, attempt, cancel_requested, created_at, started_at,
       finished_at, inference_seconds, error, error_type
FROM requests WHERE id = :id AND mode = 'queue';

-- name: logs_after
-- A request's log from after line :seq on.
SELECT seq, at, level, message FROM logs WHERE request_id = :request_id AND seq > :seq ORDER BY seq;

-- name: request_result
-- The answer of a request that came through the queue. No status: not finished, or expired.
SELECT state, result_status, result_headers, result_body FROM requests
WHERE id = :id AND mode = 'queue';

-- name: expire_payloads
-- Forgets what some outlived requests said and were answered; who asked, when and how it went stays.
-- Not while a webhook still waits that is to tell of the answer.
UPDATE requests SET
    input = NULL, attachments = '{}', result_status = NULL, result_headers = NULL,
    result_body = NULL, receipt = NULL, error = NULL, webhook_url = NULL, expires_at = NULL
WHERE id IN (
    SELECT id FROM requests WHERE expires_at <= :now AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE request_id = requests.id AND state = 'waiting'
    )
    ORDER BY expires_at LIMIT :limit
)
RETURNING id;

-- name: delete_logs
-- Forgets a request's log.
DELETE FROM logs WHERE request_id = :request_id;
