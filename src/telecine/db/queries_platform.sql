-- What fal's Platform API reports. A list of ids comes as text, each id between spaces, empty for
-- "any"; `:key_id` and `:is_admin` say whose requests count. Nothing here reads payloads but
-- `payloads_of_request`, and what is reported of requests comes from the index requests_ended.


-- ================================================================ money: the ledger

-- name: usage_next
-- When the first entry was written, from :start on.
SELECT at FROM ledger
WHERE at >= :start AND at < :end
  AND (:endpoints = '' OR replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints)
  AND (:keys = '' OR replace(:keys, ' ' || key_id || ' ', '') <> :keys)
ORDER BY at LIMIT 1;

-- name: usage_between
-- What was used and what it cost (decimal), per endpoint and, if :by_key, per key.
SELECT endpoint, CASE WHEN :by_key = 1 THEN key_id ELSE '' END AS key_id, count(*) AS calls,
       decimal_sum(cost) AS cost, sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unknown
FROM ledger
WHERE at >= :start AND at < :end
  AND (:endpoints = '' OR replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints)
  AND (:keys = '' OR replace(:keys, ' ' || key_id || ' ', '') <> :keys)
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: billing_events
-- The newest entries from before (:before_at, :before_id) on.
SELECT id, request_id, endpoint, key_id, at, cost
FROM ledger
WHERE at >= :start AND at <= :before_at AND (at, id) < (:before_at, :before_id)
  AND (:endpoints = '' OR replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints)
  AND (:keys = '' OR replace(:keys, ' ' || key_id || ' ', '') <> :keys)
  AND (:requests = '' OR replace(:requests, ' ' || request_id || ' ', '') <> :requests)
ORDER BY at DESC, id DESC LIMIT :limit;


-- ================================================================ how requests went

-- name: analytics_next
-- When the first request ended, from :start on.
SELECT finished_at AS at FROM requests
WHERE finished_at >= :start AND finished_at < :end
  AND (key_id = :key_id OR :is_admin = 1)
  AND replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints
ORDER BY finished_at LIMIT 1;

-- name: analytics_counts
-- How many requests ended, and how.
SELECT endpoint, count(*) AS request_count,
       sum(CASE WHEN status_code < 400 THEN 1 ELSE 0 END) AS success_count,
       sum(CASE WHEN status_code >= 400 AND status_code < 500 THEN 1 ELSE 0 END) AS user_error_count,
       sum(CASE WHEN status_code >= 500 THEN 1 ELSE 0 END) AS error_count,
       sum(CASE WHEN error_type = 'startup_timeout' THEN 1 ELSE 0 END) AS startup_error_count,
       sum(CASE WHEN error_type = 'downstream_service_unavailable' THEN 1 ELSE 0 END)
           AS connection_error_count,
       sum(CASE WHEN error_type IN ('request_timeout', 'generation_timeout') THEN 1 ELSE 0 END)
           AS timeout_error_count,
       sum(CASE WHEN status_code = 500 THEN 1 ELSE 0 END) AS runtime_error_count,
       sum(coalesce(finished_at - started_at, 0)) AS total_billable_duration
FROM requests
WHERE finished_at >= :start AND finished_at < :end
  AND (key_id = :key_id OR :is_admin = 1)
  AND replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints
GROUP BY endpoint ORDER BY endpoint;

-- name: analytics_durations
-- How long the started ones among them ran: the nearest rank of each percentile.
WITH line AS (
    SELECT endpoint, finished_at - started_at AS ran FROM requests
    WHERE finished_at >= :start AND finished_at < :end AND started_at IS NOT NULL
      AND (key_id = :key_id OR :is_admin = 1)
      AND replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints
), placed AS (
    SELECT endpoint, ran, count(*) OVER (PARTITION BY endpoint) AS n,
           row_number() OVER (PARTITION BY endpoint ORDER BY ran) AS place
    FROM line
)
SELECT endpoint,
       max(CASE WHEN place = (25 * n + 99) / 100 THEN ran END) AS p25_duration,
       max(CASE WHEN place = (50 * n + 99) / 100 THEN ran END) AS p50_duration,
       max(CASE WHEN place = (75 * n + 99) / 100 THEN ran END) AS p75_duration,
       max(CASE WHEN place = (90 * n + 99) / 100 THEN ran END) AS p90_duration,
       max(CASE WHEN place = (95 * n + 99) / 100 THEN ran END) AS p95_duration,
       max(CASE WHEN place = (99 * n + 99) / 100 THEN ran END) AS p99_duration
FROM placed GROUP BY endpoint ORDER BY endpoint;

-- name: analytics_prepare_durations
-- How long they waited before that, likewise.
WITH line AS (
    SELECT endpoint, started_at - created_at AS waited FROM requests
    WHERE finished_at >= :start AND finished_at < :end AND started_at IS NOT NULL
      AND (key_id = :key_id OR :is_admin = 1)
      AND replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints
), placed AS (
    SELECT endpoint, waited, count(*) OVER (PARTITION BY endpoint) AS n,
           row_number() OVER (PARTITION BY endpoint ORDER BY waited) AS place
    FROM line
)
SELECT endpoint,
       max(CASE WHEN place = (50 * n + 99) / 100 THEN waited END) AS p50_prepare_duration,
       max(CASE WHEN place = (75 * n + 99) / 100 THEN waited END) AS p75_prepare_duration,
       max(CASE WHEN place = (90 * n + 99) / 100 THEN waited END) AS p90_prepare_duration,
       max(CASE WHEN place = (95 * n + 99) / 100 THEN waited END) AS p95_prepare_duration,
       max(CASE WHEN place = (99 * n + 99) / 100 THEN waited END) AS p99_prepare_duration
FROM placed GROUP BY endpoint ORDER BY endpoint;

-- name: requests_by_end
-- The newest ended requests from before (:before, :before_seq) on.
SELECT seq, id, endpoint, created_at, started_at, finished_at, status_code, finished_at AS place
FROM requests
WHERE finished_at >= :start AND finished_at < :end
  AND finished_at <= :before AND (finished_at, seq) < (:before, :before_seq)
  AND (key_id = :key_id OR :is_admin = 1)
  AND replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints
  AND status_code >= :lowest_code AND status_code <= :highest_code
ORDER BY finished_at DESC, seq DESC LIMIT :limit;

-- name: requests_by_duration
-- The same, the longest first.
SELECT seq, id, endpoint, created_at, started_at, finished_at, status_code,
       finished_at - created_at AS place
FROM requests
WHERE finished_at >= :start AND finished_at < :end
  AND (finished_at - created_at, seq) < (:before, :before_seq)
  AND (key_id = :key_id OR :is_admin = 1)
  AND replace(:endpoints, ' ' || endpoint || ' ', '') <> :endpoints
  AND status_code >= :lowest_code AND status_code <= :highest_code
ORDER BY place DESC, seq DESC LIMIT :limit;

-- name: request_by_id
-- One request, in whatever state.
SELECT seq, id, endpoint, created_at, started_at, finished_at, status_code
FROM requests WHERE id = :id AND (key_id = :key_id OR :is_admin = 1);

-- name: payload_bytes_of_request
-- What its payloads weigh.
SELECT coalesce(length(input), 0) + coalesce(length(result_body), 0) AS bytes
FROM requests WHERE seq = :seq;

-- name: payloads_of_request
-- What a request said and was answered, while that is kept.
SELECT input, result_body FROM requests WHERE seq = :seq;


-- ================================================================ deleting what was said

-- name: request_to_forget
-- What there is to know of a request whose payloads are to go.
SELECT state, attachments FROM requests WHERE id = :id;

-- name: delete_payloads
-- Forgets what a finished request said and was answered; who asked, when and how it went stays.
UPDATE requests SET
    input = NULL, attachments = '{}', result_status = NULL, result_headers = NULL,
    result_body = NULL, receipt = NULL, error = NULL, webhook_url = NULL, expires_at = NULL
WHERE id = :id AND state IN ('succeeded', 'failed', 'cancelled');

-- name: delete_attempt_details
-- Forgets what went wrong in so many words.
UPDATE attempts SET detail = NULL WHERE request_id = :request_id;

-- name: delete_delivery_details
-- Forgets what receivers of its webhook answered: it may repeat the payload.
UPDATE delivery_attempts SET detail = ''
WHERE delivery_id IN (SELECT id FROM deliveries WHERE request_id = :request_id);
