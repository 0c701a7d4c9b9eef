-- Statements of files.py (objects, files, uploads) and keys.py.

-- ---------------------------------------------------------------- objects

-- name: object_adopt
-- Point at these bytes, or at the same bytes kept before; the answer is the key that counts.
INSERT INTO objects (key, sha256, bytes, created_at) VALUES (:key, :sha256, :bytes, :now)
ON CONFLICT (sha256) DO UPDATE SET sha256 = excluded.sha256
RETURNING key;

-- name: object_known
-- One row if the key has a row.
SELECT key FROM objects WHERE key = :key;

-- name: objects_unreferenced
-- Keys that neither a file nor a part nor an unfinished request points at.
SELECT key FROM objects
WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.object = objects.key)
  AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.object = objects.key)
  AND key NOT IN (SELECT object FROM upload_parts)
LIMIT :most;

-- name: object_release
-- Forget the object if nothing points at it any more; its bytes may be deleted after the commit.
DELETE FROM objects
WHERE key = :key
  AND NOT EXISTS (SELECT 1 FROM files WHERE files.object = objects.key)
  AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.object = objects.key)
  AND NOT EXISTS (SELECT 1 FROM upload_parts WHERE upload_parts.object = objects.key);

-- ---------------------------------------------------------------- files

-- name: file_insert
-- A file whose bytes are there (`object`), or are still to be uploaded (`upload_hash`, `upload_until`).
INSERT INTO files (id, key_id, object, name, content_type, bytes, upload_hash, upload_until,
                   created_at, expires_at, acl)
VALUES (:id, :key_id, :object, :name, :content_type, :bytes, :upload_hash, :upload_until,
        :now, :expires_at, :acl);

-- name: file_by_id
-- The file with the hash of its bytes, complete or not, expired or not; `is_pinned` tells whether an
-- unfinished request still needs the bytes.
SELECT files.id, files.key_id, files.object, files.name, files.content_type, files.bytes,
       files.upload_hash, files.upload_until, files.created_at, files.expires_at, files.acl,
       objects.sha256,
       EXISTS (SELECT 1 FROM pins WHERE pins.object = files.object) AS is_pinned
FROM files LEFT JOIN objects ON objects.key = files.object
WHERE files.id = :id;

-- name: file_complete
-- The upload is done: from now on the file is served, and its life counts from now. Only once.
UPDATE files
SET object = :object, bytes = :bytes, expires_at = :now + (expires_at - created_at), created_at = :now
WHERE id = :id AND object IS NULL;

-- name: file_set_acl
-- Who may read the file from now on.
UPDATE files SET acl = :acl WHERE id = :id;

-- name: file_pinned_by
-- A row if this unfinished request keeps these bytes.
SELECT 1 AS yes FROM pins WHERE request_id = :request_id AND object = :object;

-- name: key_bytes
-- What a key's files take, and the parts of those that are still being uploaded.
SELECT (SELECT coalesce(sum(bytes), 0) FROM files WHERE key_id = :key_id)
     + (SELECT coalesce(sum(upload_parts.bytes), 0)
        FROM files JOIN upload_parts ON upload_parts.file_id = files.id
        WHERE files.key_id = :key_id) AS bytes;

-- name: files_expired
-- Files past their time that no unfinished request needs, and uploads that were given up.
SELECT id FROM files
WHERE expires_at <= :now AND object IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.object = files.object)
UNION ALL
SELECT id FROM files WHERE object IS NULL AND upload_until <= :now
LIMIT :most;

-- name: file_delete_expired
-- Delete one of those, if that is still true.
DELETE FROM files
WHERE id = :id AND (
    (object IS NULL AND upload_until <= :now)
    OR (object IS NOT NULL AND expires_at <= :now
        AND NOT EXISTS (SELECT 1 FROM pins WHERE pins.object = files.object))
);

-- name: storage_settings
-- What a key wants its next uploads to be like.
SELECT expires_seconds, acl FROM storage_settings WHERE key_id = :key_id;

-- name: storage_settings_put
-- The same, from now on.
INSERT INTO storage_settings (key_id, expires_seconds, acl) VALUES (:key_id, :expires_seconds, :acl)
ON CONFLICT (key_id) DO UPDATE SET expires_seconds = excluded.expires_seconds, acl = excluded.acl;

-- ---------------------------------------------------------------- parts of uploads

-- name: part_put
-- Keep a part; a part with this number that was sent before is replaced.
INSERT INTO upload_parts (file_id, number, object, etag, bytes)
VALUES (:file_id, :number, :object, :etag, :bytes)
ON CONFLICT (file_id, number)
DO UPDATE SET object = excluded.object, etag = excluded.etag, bytes = excluded.bytes;

-- name: part_by_number
-- One part of an upload.
SELECT object, etag, bytes FROM upload_parts WHERE file_id = :file_id AND number = :number;

-- name: part_bytes
-- What the other parts of an upload weigh.
SELECT coalesce(sum(bytes), 0) AS bytes FROM upload_parts
WHERE file_id = :file_id AND number <> :number;

-- name: parts_of
-- The parts of an upload in order.
SELECT number, object, etag, bytes FROM upload_parts WHERE file_id = :file_id ORDER BY number;

-- name: parts_delete
-- Forget the parts of an upload.
DELETE FROM upload_parts WHERE file_id = :file_id;
