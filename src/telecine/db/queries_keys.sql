-- name: key_insert
-- A new key.
INSERT INTO keys (
    id, secret_hash, alias, scopes, created_at, expires_at, models, per_minute, running, budget, budget_per
) VALUES (
    :id, :secret_hash, :alias, :scopes, :now, :expires_at, :models, :per_minute, :running, :budget, :budget_per
);

-- name: key_ensure
-- The operator's own key: valid from now on, whatever was before.
INSERT INTO keys (id, secret_hash, alias, scopes, created_at)
VALUES (:id, :secret_hash, :alias, :scopes, :now)
ON CONFLICT (id) DO UPDATE
SET secret_hash = excluded.secret_hash, alias = excluded.alias, scopes = excluded.scopes, revoked_at = NULL, expires_at = NULL;

-- name: keys_supersede
-- Revoke the other keys of this alias.
UPDATE keys SET revoked_at = :now WHERE alias = :alias AND id <> :id AND revoked_at IS NULL;

-- name: keys_all
-- Every key, revoked ones too, oldest first.
SELECT id, alias, scopes, created_at, expires_at, revoked_at, last_used_at, models, per_minute, running, budget,
       budget_per
FROM keys ORDER BY created_at, id;

-- name: keys_valid
-- What is needed to check a key.
SELECT id, secret_hash, scopes, expires_at, models, per_minute, running, budget, budget_per
FROM keys WHERE revoked_at IS NULL;

-- name: key_limit
-- Other limits for a key that is not revoked.
UPDATE keys
SET alias = :alias, expires_at = :expires_at, models = :models, per_minute = :per_minute, running = :running,
    budget = :budget, budget_per = :budget_per
WHERE id = :id AND revoked_at IS NULL;

-- name: key_revoke
-- Revoke a key; the first time counts.
UPDATE keys SET revoked_at = coalesce(revoked_at, :now) WHERE id = :id;

-- name: key_used
-- The key was used at this time.
UPDATE keys SET last_used_at = :now WHERE id = :id;

-- name: key_spent
-- What a key spent on the days from `since` on, in trillionths of a dollar.
SELECT coalesce(sum(pico), 0) AS pico FROM spending WHERE key_id = :key_id AND day >= :since;

-- name: keys_spent
-- The same for every key that spent anything.
SELECT key_id, day, pico FROM spending WHERE day >= :since ORDER BY key_id, day;

-- name: audit_insert
-- Somebody changed something.
INSERT INTO audit (at, actor, action, subject, detail) VALUES (:at, :actor, :action, :subject, :detail);

-- name: audit_page
-- The newest first.
SELECT id, at, actor, action, subject, detail FROM audit
WHERE id < :before ORDER BY id DESC LIMIT :limit;
