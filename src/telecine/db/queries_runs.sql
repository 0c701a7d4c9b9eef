-- What runs leave behind on their way: finished pieces, and bills whose amount is not known yet.


-- ================================================================ checkpoints

-- name: insert_checkpoint
-- A piece of work that another attempt need not do again; nothing once the request has ended.
INSERT INTO checkpoints (request_id, name, body)
SELECT id, :name, :body FROM requests WHERE id = :request_id AND state IN ('queued', 'running')
ON CONFLICT DO NOTHING;

-- name: checkpoints_of_request
-- What earlier attempts got done.
SELECT name, body FROM checkpoints WHERE request_id = :request_id;

-- name: delete_checkpoints
-- What a finished request no longer needs.
DELETE FROM checkpoints WHERE request_id = :request_id;


-- ================================================================ costs that are asked for later

-- name: settlements_due
-- Entries of which the upstream is to be asked what they cost, the longest overdue first.
SELECT id, provider, upstream_id, at, settle_at, settle_tries FROM ledger
WHERE settle_at <= :now ORDER BY settle_at LIMIT :limit;

-- name: next_settlement
-- When the next of them is due; no row: there is none.
SELECT settle_at FROM ledger WHERE settle_at IS NOT NULL ORDER BY settle_at LIMIT 1;

-- name: claim_settlement
-- Takes one on, so that no other process asks too. No row: another has it.
UPDATE ledger SET settle_at = :next, settle_tries = settle_tries + 1
WHERE id = :id AND settle_at = :settle_at;

-- name: settle_entry
-- unknown -> what the upstream says. No row: it was known already.
UPDATE ledger SET
    prompt_tokens = :prompt_tokens, completion_tokens = :completion_tokens,
    total_tokens = :total_tokens, cost = :cost, cost_source = :cost_source, settle_at = NULL
WHERE id = :id AND cost_source = 'unknown';

-- name: give_up_settlement
-- It stays unknown.
UPDATE ledger SET settle_at = NULL WHERE id = :id;
