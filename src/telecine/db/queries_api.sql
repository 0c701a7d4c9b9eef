-- What /telecine/v1/ shows of requests of any mode.

-- name: request_story
-- All there is to say about one request, for its own key or for an administrator.
SELECT id, endpoint, mode, key_id, model, state, attempt, created_at, started_at, finished_at,
       inference_seconds, error, error_type, input, result_status, result_body, receipt
FROM requests WHERE id = :id AND (key_id = :key_id OR :is_admin = 1);

-- name: request_attempts
-- How each attempt of a request went.
SELECT attempt, started_at, ended_at, ended_as, detail
FROM attempts WHERE request_id = :request_id ORDER BY attempt;

-- name: request_entries
-- What a request used and cost, attempt by attempt.
SELECT attempt, provider, model, at, prompt_tokens, completion_tokens, total_tokens, cost, cost_source
FROM ledger WHERE request_id = :request_id ORDER BY id;
