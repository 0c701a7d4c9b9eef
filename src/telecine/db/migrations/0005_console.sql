-- Lists of requests with filters read this instead of the rows, which may hold megabytes each.
DROP INDEX requests_by_time;
CREATE INDEX requests_by_time ON requests (
    created_at, seq, state, mode, key_id, endpoint, model, id, error_type
);
CREATE INDEX files_by_time ON files (created_at, id);
