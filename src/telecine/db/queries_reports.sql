-- What the command line lists.

-- name: report_requests
-- The newest requests of any mode, with what they cost.
SELECT r.id, r.endpoint, r.mode, r.key_id, r.model, r.state, r.attempt, r.created_at, r.started_at,
       r.finished_at, r.inference_seconds, r.error_type,
       (SELECT sum(total_tokens) FROM ledger l WHERE l.request_id = r.id) AS total_tokens
FROM requests r ORDER BY r.seq DESC LIMIT :limit;

-- name: report_usage
-- The ledger's entries from :since on; decimals are added up where they are exact.
SELECT model, provider, key_id, prompt_tokens, completion_tokens, total_tokens, cost, cost_source
FROM ledger WHERE at >= :since;
