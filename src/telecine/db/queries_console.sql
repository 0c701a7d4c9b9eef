-- What the lists of /telecine/v1/ ask: requests by filters, usage, files. `:key_id` and `:is_admin`
-- say whose count. A filter that is empty lets everything through.


-- ================================================================ requests

-- name: listed_requests
-- The newest from before (:before_at, :before_seq) on that meet the filters, with what they cost. They
-- are looked for in the index requests_by_time alone, but for the messages of failed ones.
SELECT r.seq, r.id, r.endpoint, r.mode, r.key_id, r.model, r.state, r.attempt, r.created_at,
       r.started_at, r.finished_at, r.inference_seconds, substr(r.error, 1, 300) AS error, r.error_type,
       (SELECT sum(total_tokens) FROM ledger WHERE request_id = r.id) AS total_tokens,
       (SELECT decimal_sum(cost) FROM ledger WHERE request_id = r.id) AS cost,
       (SELECT count(*) FROM ledger WHERE request_id = r.id AND cost IS NULL) AS unknown_costs
FROM (
    SELECT seq FROM requests
    WHERE created_at >= :start AND created_at < :end
      AND created_at <= :before_at AND (created_at, seq) < (:before_at, :before_seq)
      AND (key_id = :key_id OR :is_admin = 1)
      AND (:key = '' OR key_id = :key)
      AND (:state_1 = '' OR state IN (:state_1, :state_2, :state_3, :state_4, :state_5))
      AND (:mode = '' OR mode = :mode)
      AND (:endpoint = '' OR endpoint = :endpoint)
      AND (:model = '' OR model = :model)
      AND (
          :search = '' OR lower(id) LIKE :search ESCAPE '!' OR lower(model) LIKE :search ESCAPE '!'
          OR (error_type IS NOT NULL AND (
              lower(error_type) LIKE :search ESCAPE '!'
              OR EXISTS (
                  SELECT 1 FROM requests AS failed
                  WHERE failed.seq = requests.seq AND lower(failed.error) LIKE :search ESCAPE '!'
              )
          ))
      )
    ORDER BY created_at DESC, seq DESC LIMIT :limit
) AS found JOIN requests AS r ON r.seq = found.seq
ORDER BY r.created_at DESC, r.seq DESC;

-- name: listed_requests_of_key
-- The newest of one key, from before :before_seq on: its own index leads there.
SELECT r.seq, r.id, r.endpoint, r.mode, r.key_id, r.model, r.state, r.attempt, r.created_at,
       r.started_at, r.finished_at, r.inference_seconds, substr(r.error, 1, 300) AS error, r.error_type,
       (SELECT sum(total_tokens) FROM ledger WHERE request_id = r.id) AS total_tokens,
       (SELECT decimal_sum(cost) FROM ledger WHERE request_id = r.id) AS cost,
       (SELECT count(*) FROM ledger WHERE request_id = r.id AND cost IS NULL) AS unknown_costs
FROM requests AS r WHERE r.key_id = :key_id AND r.seq < :before_seq
ORDER BY r.seq DESC LIMIT :limit;

-- name: changed_requests
-- What came in, began, ended or was put off since :since, the newest first.
SELECT r.seq, r.id, r.endpoint, r.mode, r.key_id, r.model, r.state, r.attempt, r.created_at,
       r.started_at, r.finished_at, r.inference_seconds, substr(r.error, 1, 300) AS error, r.error_type,
       (SELECT sum(total_tokens) FROM ledger WHERE request_id = r.id) AS total_tokens,
       (SELECT decimal_sum(cost) FROM ledger WHERE request_id = r.id) AS cost,
       (SELECT count(*) FROM ledger WHERE request_id = r.id AND cost IS NULL) AS unknown_costs
FROM (
    SELECT seq FROM requests WHERE created_at >= :since
    UNION SELECT seq FROM requests WHERE finished_at >= :since
    UNION SELECT seq FROM requests WHERE state = 'running' AND started_at >= :since
    UNION SELECT seq FROM requests WHERE state = 'queued' AND not_before >= :since
) AS changed JOIN requests AS r ON r.seq = changed.seq
WHERE (r.key_id = :key_id OR :is_admin = 1)
ORDER BY r.created_at DESC, r.seq DESC LIMIT :limit;

-- name: request_to_replay
-- What another run of a request needs, for its own key or for an administrator.
SELECT id, endpoint, input, attachments FROM requests
WHERE id = :id AND (key_id = :key_id OR :is_admin = 1);

-- name: request_mode
-- How a request came and where it stands, likewise.
SELECT mode, state FROM requests WHERE id = :id AND (key_id = :key_id OR :is_admin = 1);


-- ================================================================ usage

-- name: usage_by_name
-- What was used and what it cost, per model, key or provider, as :by says.
SELECT CASE :by WHEN 'model' THEN provider || '/' || model WHEN 'key' THEN key_id ELSE provider END
           AS name,
       count(*) AS calls, sum(prompt_tokens) AS prompt_tokens,
       sum(completion_tokens) AS completion_tokens, sum(total_tokens) AS total_tokens,
       decimal_sum(cost) AS cost, sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unknown_costs
FROM ledger
WHERE at >= :start AND at < :end AND (key_id = :key_id OR :is_admin = 1)
GROUP BY 1 ORDER BY 1;

-- name: usage_by_day
-- The same per day, in UTC as budgets are.
SELECT date(at, 'unixepoch') AS name,
       count(*) AS calls, sum(prompt_tokens) AS prompt_tokens,
       sum(completion_tokens) AS completion_tokens, sum(total_tokens) AS total_tokens,
       decimal_sum(cost) AS cost, sum(CASE WHEN cost IS NULL THEN 1 ELSE 0 END) AS unknown_costs
FROM ledger
WHERE at >= :start AND at < :end AND (key_id = :key_id OR :is_admin = 1)
GROUP BY 1 ORDER BY 1;


-- ================================================================ files

-- name: listed_files
-- The newest that are served, from before (:before_at, :before_id) on.
SELECT id, key_id, name, content_type, bytes, created_at, expires_at,
       CASE WHEN acl IS NULL THEN 0 ELSE 1 END AS is_private
FROM files
WHERE created_at <= :before_at AND (created_at, id) < (:before_at, :before_id)
  AND object IS NOT NULL AND (expires_at IS NULL OR expires_at > :now)
  AND (key_id = :key_id OR :is_admin = 1)
ORDER BY created_at DESC, id DESC LIMIT :limit;

-- name: file_delete
-- Delete a file, unless an unfinished request still needs its bytes.
DELETE FROM files
WHERE id = :id AND object IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.object = files.object);
