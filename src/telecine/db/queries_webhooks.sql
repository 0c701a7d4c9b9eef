-- Webhooks: deliveries and every attempt at one.

-- name: insert_delivery
-- A webhook that is due.
INSERT INTO deliveries (request_id, key_id, url, host, state, next_at, created_at)
VALUES (
    :request_id, coalesce((SELECT key_id FROM requests WHERE id = :request_id), ''),
    :url, :host, 'waiting', :now, :now
)
RETURNING id;


-- ================================================================ sending

-- name: delivery_is_due
-- A row if any is due.
SELECT 1 AS yes FROM deliveries WHERE state = 'waiting' AND next_at <= :now LIMIT 1;

-- name: next_delivery
-- When the next one will be due that is not yet.
SELECT next_at FROM deliveries
WHERE state = 'waiting' AND next_at > :now ORDER BY next_at LIMIT 1;

-- name: due_deliveries
-- The first :each due deliveries to every host that has any, in rounds: the first of each host, then
-- the second of each. A host with a hundred thousand of them costs no more than one with a few: a
-- loose scan hops from host to host.
WITH RECURSIVE receiver (host) AS (
    SELECT * FROM (
        SELECT host FROM deliveries WHERE state = 'waiting' ORDER BY host LIMIT 1
    ) AS first
    UNION ALL
    SELECT (
        SELECT later.host FROM deliveries AS later
        WHERE later.state = 'waiting' AND later.host > receiver.host
        ORDER BY later.host LIMIT 1
    )
    FROM receiver WHERE receiver.host IS NOT NULL
)
SELECT due.id, due.request_id, due.host, due.attempts,
       row_number() OVER (PARTITION BY due.host ORDER BY due.next_at, due.id) AS round
FROM receiver
JOIN deliveries AS due ON due.id IN (
    SELECT mine.id FROM deliveries AS mine
    WHERE mine.state = 'waiting' AND mine.host = receiver.host AND mine.next_at <= :now
    ORDER BY mine.next_at, mine.id LIMIT :each
)
ORDER BY round, due.next_at, due.id LIMIT :limit;

-- name: claim_delivery
-- A new attempt begins, and its number is the fence of its outcome. Nobody else begins one before
-- :lost_at. No row: somebody did already.
UPDATE deliveries SET attempts = attempts + 1, next_at = :lost_at
WHERE id = :id AND state = 'waiting' AND attempts = :attempts AND next_at <= :now;

-- name: insert_delivery_attempt
-- An attempt, before anything of it is sent.
INSERT INTO delivery_attempts (delivery_id, attempt, at) VALUES (:id, :attempt, :now);

-- name: load_delivery
-- What an attempt sends, and where. No status: the result has expired.
SELECT d.url, r.key_id, r.store_io, r.result_status, r.result_body
FROM deliveries AS d JOIN requests AS r ON r.id = d.request_id
WHERE d.id = :id;

-- name: end_delivery_attempt
-- How it went. No row: that is known already. What was answered about a payload that was deleted
-- meanwhile is not kept: it may repeat it.
UPDATE delivery_attempts SET seconds = :seconds, status = :status,
    detail = CASE WHEN :is_answer = 1 AND EXISTS (
        SELECT 1 FROM deliveries JOIN requests ON requests.id = deliveries.request_id
        WHERE deliveries.id = :id AND requests.result_status IS NULL
    ) THEN '' ELSE :detail END
WHERE delivery_id = :id AND attempt = :attempt AND seconds IS NULL;

-- name: move_delivery
-- waiting -> waiting | delivered | dead, after the attempt that counts.
UPDATE deliveries SET state = :state, next_at = :next_at, ended_at = :ended_at
WHERE id = :id AND attempts = :attempt AND state = 'waiting';

-- name: open_delivery_attempts
-- Attempts whose outcome nobody wrote down, and whose time was over at :lost_by.
SELECT open.delivery_id AS id, open.attempt, open.at
FROM delivery_attempts AS open JOIN deliveries AS d ON d.id = open.delivery_id
WHERE open.seconds IS NULL
  AND (d.next_at <= :lost_by OR d.attempts > open.attempt OR d.state <> 'waiting');

-- name: mend_deliveries
-- Makes due what the schedule would never have put off so far: the clock was set back.
UPDATE deliveries SET next_at = :now WHERE state = 'waiting' AND next_at > :latest;

-- name: expire_deliveries
-- Forgets some that ended before :before, with their attempts.
DELETE FROM deliveries WHERE id IN (
    SELECT id FROM deliveries WHERE ended_at <= :before ORDER BY ended_at LIMIT :limit
);


-- ================================================================ what is asked about them

-- name: deliveries_page
-- The newest from before :before on, with what came of their last attempt.
SELECT d.id, d.request_id, d.url, d.state, d.attempts, d.next_at, d.created_at, d.ended_at,
       last.status, last.detail
FROM deliveries AS d
LEFT JOIN delivery_attempts AS last ON last.delivery_id = d.id AND last.attempt = d.attempts
WHERE d.id < :before
ORDER BY d.id DESC LIMIT :limit;

-- name: deliveries_page_of_state
-- The same for those in one state.
SELECT d.id, d.request_id, d.url, d.state, d.attempts, d.next_at, d.created_at, d.ended_at,
       last.status, last.detail
FROM deliveries AS d
LEFT JOIN delivery_attempts AS last ON last.delivery_id = d.id AND last.attempt = d.attempts
WHERE d.state = :state AND d.id < :before
ORDER BY d.id DESC LIMIT :limit;

-- name: deliveries_page_of_key
-- The same for one key's, in one state or (empty) in any.
SELECT d.id, d.request_id, d.url, d.state, d.attempts, d.next_at, d.created_at, d.ended_at,
       last.status, last.detail
FROM deliveries AS d
LEFT JOIN delivery_attempts AS last ON last.delivery_id = d.id AND last.attempt = d.attempts
WHERE d.key_id = :key_id AND d.id < :before AND (:state = '' OR d.state = :state)
ORDER BY d.id DESC LIMIT :limit;

-- name: deliveries_of_request
-- The same for one request, for its own key or for an administrator.
SELECT d.id, d.request_id, d.url, d.state, d.attempts, d.next_at, d.created_at, d.ended_at,
       last.status, last.detail
FROM deliveries AS d
LEFT JOIN delivery_attempts AS last ON last.delivery_id = d.id AND last.attempt = d.attempts
WHERE d.request_id = :request_id AND d.id < :before AND (:state = '' OR d.state = :state)
  AND (d.key_id = :key_id OR :is_admin = 1)
ORDER BY d.id DESC LIMIT :limit;

-- name: delivery_by_id
-- One delivery, for its request's own key or for an administrator.
SELECT d.id, d.request_id, d.url, d.host, d.state, d.attempts, d.next_at, d.created_at, d.ended_at,
       r.result_status IS NOT NULL AS has_result
FROM deliveries AS d JOIN requests AS r ON r.id = d.request_id
WHERE d.id = :id AND (r.key_id = :key_id OR :is_admin = 1);

-- name: last_delivery_of_request
-- The newest delivery of a request, likewise.
SELECT d.id FROM deliveries AS d JOIN requests AS r ON r.id = d.request_id
WHERE d.request_id = :request_id AND (r.key_id = :key_id OR :is_admin = 1)
ORDER BY d.id DESC LIMIT 1;

-- name: attempts_of_delivery
-- Every attempt at a delivery in order.
SELECT attempt, at, seconds, status, detail FROM delivery_attempts
WHERE delivery_id = :id ORDER BY attempt;

-- name: waiting_delivery
-- The newest one of a request to a URL that still waits.
SELECT id FROM deliveries
WHERE request_id = :request_id AND url = :url AND state = 'waiting' ORDER BY id DESC LIMIT 1;

-- name: hurry_delivery
-- Makes a waiting one due now, unless an attempt is under way.
UPDATE deliveries SET next_at = :now
WHERE id = :id AND state = 'waiting' AND NOT EXISTS (
    SELECT 1 FROM delivery_attempts WHERE delivery_id = deliveries.id AND seconds IS NULL
);
