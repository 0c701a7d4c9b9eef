-- What PostgreSQL says in its own way, or has to itself.


-- ================================================================ locks

-- name: lock_gate
-- From here to the end of the transaction nobody else admits requests or counts what runs.
SELECT 1 AS yes FROM (SELECT pg_advisory_xact_lock(8433105719210002)) AS locked;

-- name: lock_request
-- From here to the end of the transaction nobody else moves this request.
SELECT 1 AS yes FROM requests WHERE id = :id FOR UPDATE;


-- ================================================================ the gate

-- name: admit_requests
-- queued -> running, for those of a JSON list that wait: a new attempt begins, and its number is the
-- fence of its finish.
UPDATE requests SET state = 'running', attempt = attempt + 1, started_at = :now, node = ''
WHERE id = ANY(ARRAY(SELECT json_array_elements_text(CAST(:ids AS JSON)))) AND state = 'queued'
RETURNING id;


-- ================================================================ a limited number of rows
-- As `IN (SELECT … LIMIT)` the planner may run the inner query again for every row, and change more
-- than the limit; and nodes that tidy at the same time must not wait for each other.

-- name: expire_payloads
-- Forgets what some outlived requests said and were answered; who asked, when and how it went stays.
-- Not while a webhook still waits that is to tell of the answer.
WITH outlived AS MATERIALIZED (
    SELECT id FROM requests WHERE expires_at <= :now AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE request_id = requests.id AND state = 'waiting'
    )
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE requests SET
    input = NULL, attachments = '{}', result_status = NULL, result_headers = NULL,
    result_body = NULL, receipt = NULL, error = NULL, webhook_url = NULL, expires_at = NULL
FROM outlived WHERE requests.id = outlived.id
RETURNING requests.id;

-- name: expire_deliveries
-- Forgets some that ended before :before, with their attempts.
WITH outlived AS MATERIALIZED (
    SELECT id FROM deliveries WHERE ended_at <= :before
    ORDER BY ended_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
DELETE FROM deliveries USING outlived WHERE deliveries.id = outlived.id;


-- ================================================================ loose scans
-- LATERAL, as PostgreSQL would compare an `IN (SELECT … LIMIT)` with every row there is.

-- name: first_waiting
-- The first :each due requests of every pair of key and lane that has any. However deep the
-- queue, it touches only those: a loose scan over the index hops from pair to pair.
WITH RECURSIVE pair (key_id, lane) AS (
    SELECT * FROM (
        SELECT key_id, lane FROM requests WHERE state = 'queued' ORDER BY key_id, lane LIMIT 1
    ) AS first
    UNION ALL
    SELECT later.key_id, later.lane FROM pair CROSS JOIN LATERAL (
        SELECT requests.key_id, requests.lane FROM requests
        WHERE state = 'queued' AND (requests.key_id, requests.lane) > (pair.key_id, pair.lane)
        ORDER BY requests.key_id, requests.lane LIMIT 1
    ) AS later
)
SELECT waiting.seq, waiting.id, waiting.key_id, waiting.model, waiting.priority,
       coalesce((SELECT served FROM turns WHERE turns.key_id = waiting.key_id), 0) AS served,
       (SELECT running FROM keys WHERE keys.id = waiting.key_id) AS most
FROM pair CROSS JOIN LATERAL (
    SELECT seq, id, key_id, model, priority FROM requests AS due
    WHERE due.state = 'queued' AND due.key_id = pair.key_id AND due.lane = pair.lane
      AND due.not_before <= :now
    ORDER BY due.priority, due.seq LIMIT :each
) AS waiting;

-- name: due_deliveries
-- The first :each due deliveries to every host that has any, in rounds: the first of each host, then
-- the second of each. A host with a hundred thousand of them costs no more than one with a few: a
-- loose scan hops from host to host.
WITH RECURSIVE receiver (host) AS (
    SELECT * FROM (
        SELECT host FROM deliveries WHERE state = 'waiting' ORDER BY host LIMIT 1
    ) AS first
    UNION ALL
    SELECT later.host FROM receiver CROSS JOIN LATERAL (
        SELECT deliveries.host FROM deliveries
        WHERE state = 'waiting' AND deliveries.host > receiver.host
        ORDER BY deliveries.host LIMIT 1
    ) AS later
)
SELECT due.id, due.request_id, due.host, due.attempts,
       row_number() OVER (PARTITION BY due.host ORDER BY due.next_at, due.id) AS round
FROM receiver CROSS JOIN LATERAL (
    SELECT mine.id, mine.request_id, mine.host, mine.attempts, mine.next_at FROM deliveries AS mine
    WHERE mine.state = 'waiting' AND mine.host = receiver.host AND mine.next_at <= :now
    ORDER BY mine.next_at, mine.id LIMIT :each
) AS due
ORDER BY round, due.next_at, due.id LIMIT :limit;


-- ================================================================ money

-- name: usage_between
-- What was used and what it cost (decimal), per endpoint and, if :by_key, per key.
SELECT endpoint, CASE WHEN :by_key = 1 THEN key_id ELSE '' END AS key_id, count(*) AS calls,
       CAST(sum(CAST(cost AS NUMERIC)) AS TEXT) AS cost,
       sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unknown
FROM ledger
WHERE at >= :start AND at < :end
  AND (:endpoints = '' OR replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints)
  AND (:keys = '' OR replace(:keys, ' ' || key_id || ' ', '') <> :keys)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: usage_by_day
-- The same per day, in UTC as budgets are.
SELECT to_char(to_timestamp(at) AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS name,
       count(*) AS calls, sum(prompt_tokens) AS prompt_tokens,
       sum(completion_tokens) AS completion_tokens, sum(total_tokens) AS total_tokens,
       decimal_sum(cost) AS cost, sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unknown_costs
FROM ledger
WHERE at >= :start AND at < :end AND (key_id = :key_id OR :is_admin = 1)
GROUP BY 1 ORDER BY 1;


-- ================================================================ nodes
-- Leases are measured by the database's clock alone: those of the nodes may differ.

-- name: node_beat
-- The node is there. Answers how long ago it was seen last; nothing, if it was forgotten meanwhile.
WITH before AS MATERIALIZED (
    SELECT extract(epoch FROM clock_timestamp()) - seen_at AS silent FROM nodes WHERE id = :id
), beat AS (
    INSERT INTO nodes (id, name, slots, seen_at)
    VALUES (:id, :name, :slots, extract(epoch FROM clock_timestamp()))
    ON CONFLICT (id) DO UPDATE SET slots = excluded.slots, seen_at = excluded.seen_at
)
SELECT CAST(silent AS DOUBLE PRECISION) AS silent FROM before;

-- name: node_leave
-- The node is gone, and left nothing behind.
DELETE FROM nodes WHERE id = :id;

-- name: nodes_forget
-- Nodes that were not seen for so long that nobody misses them.
DELETE FROM nodes WHERE seen_at < extract(epoch FROM clock_timestamp()) - :seconds
  AND NOT EXISTS (SELECT 1 FROM requests WHERE state = 'running' AND node = nodes.id);

-- name: nodes_all
-- Every node, and how long ago it was seen.
SELECT id, name, slots, CAST(extract(epoch FROM clock_timestamp()) - seen_at AS DOUBLE PRECISION) AS silent
FROM nodes ORDER BY name, id;

-- name: count_slots
-- How many queued requests all nodes together run at once.
SELECT CAST(coalesce(sum(slots), 0) AS BIGINT) AS n FROM nodes
WHERE seen_at >= extract(epoch FROM clock_timestamp()) - :seconds;

-- name: attempts_of
-- Which attempt each of these requests is at.
SELECT id, attempt FROM requests WHERE id = ANY(:ids);

-- name: claim_request
-- This node runs the attempt. No row: another one does, or did.
UPDATE requests SET node = :node
WHERE id = :id AND attempt = :attempt AND state = 'running' AND node IN ('', :node);

-- name: lost_requests
-- What runs on nodes that are gone, as the node :node sees it: itself is there.
SELECT id, mode, attempt, losses, cancel_requested, started_at FROM requests
WHERE state = 'running' AND node NOT IN ('', :node) AND NOT EXISTS (
    SELECT 1 FROM nodes
    WHERE nodes.id = requests.node AND seen_at >= extract(epoch FROM clock_timestamp()) - :seconds
);

-- name: undelivered_requests
-- Admitted a while ago, begun by nobody, and the engine knows nothing of them.
SELECT id, mode, attempt, losses, cancel_requested, started_at FROM requests
WHERE state = 'running' AND node = '' AND started_at < :before AND NOT EXISTS (
    SELECT 1 FROM telecine_pgqueuer AS job
    WHERE job.dedupe_key = requests.id || ' ' || requests.attempt AND job.status IN ('queued', 'picked')
);

-- name: requests_on_node
-- What the rows say that a node runs.
SELECT id FROM requests WHERE state = 'running' AND node = :node;

-- name: engine_log_forget
-- PgQueuer notes every step of every job; our rows tell the same.
DELETE FROM telecine_pgqueuer_log WHERE created < now() - interval '10 minutes';


-- ================================================================ what all nodes sign with

-- name: secret
-- One of them.
SELECT value, version FROM secrets WHERE name = :name;

-- name: secret_insert
-- The first one counts.
INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING;

-- name: secret_replace
-- A new one, if nobody was faster.
UPDATE secrets SET value = :value, version = version + 1 WHERE name = :name AND version = :version;
