-- Saved comparisons of models. `:key_id` and `:is_admin` say whose; a link opens one to whoever knows it.

-- name: sandboxes_page
-- The newest from before (:before_at, :before_id) on, without their inputs and results.
SELECT id, key_id, link, name, endpoint, created_at, updated_at
FROM sandboxes
WHERE updated_at <= :before_at AND (updated_at, id) < (:before_at, :before_id)
  AND (key_id = :key_id OR :is_admin = 1)
ORDER BY updated_at DESC, id DESC LIMIT :limit;

-- name: sandbox_opened
-- By its id for its own key or an administrator, by its link for everybody.
SELECT id, key_id, link, name, endpoint, input, created_at, updated_at
FROM sandboxes
WHERE (id = :name AND (key_id = :key_id OR :is_admin = 1)) OR link = :name;

-- name: sandbox_columns_of
-- Its models from left to right, with what they answered.
SELECT place, model, request_id, result FROM sandbox_columns
WHERE sandbox_id = :sandbox_id ORDER BY place;

-- name: sandboxes_count
-- How many a key has saved.
SELECT count(*) AS count FROM sandboxes WHERE key_id = :key_id;

-- name: sandbox_insert
-- A new one.
INSERT INTO sandboxes (id, key_id, link, name, endpoint, input, created_at, updated_at)
VALUES (:id, :key_id, :link, :name, :endpoint, :input, :now, :now);

-- name: sandbox_update
-- What it says from now on.
UPDATE sandboxes
SET link = :link, name = :name, endpoint = :endpoint, input = :input, updated_at = :now
WHERE id = :id;

-- name: sandbox_column_insert
-- One of its models.
INSERT INTO sandbox_columns (sandbox_id, place, model, request_id, result)
VALUES (:sandbox_id, :place, :model, :request_id, :result);

-- name: sandbox_columns_delete
-- Make room for its columns as they are now.
DELETE FROM sandbox_columns WHERE sandbox_id = :sandbox_id;

-- name: sandbox_delete
-- With its columns.
DELETE FROM sandboxes WHERE id = :id AND (key_id = :key_id OR :is_admin = 1);

-- name: delete_saved_results
-- Forgets what sandboxes have kept of a request's answer.
UPDATE sandbox_columns SET result = NULL WHERE request_id = :request_id;
