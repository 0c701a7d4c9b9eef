-- Lists of requests with filters read this instead of the rows, which may hold megabytes each.
DROP INDEX requests_by_time;
CREATE INDEX requests_by_time ON requests (
    created_at, seq, state, mode, key_id, endpoint, model, id, error_type
);
CREATE INDEX files_by_time ON files (created_at, id);

-- Adds up decimals written as text, exactly; NULL: there were none. SQLite has it from the driver.
CREATE FUNCTION decimal_add(total NUMERIC, more TEXT) RETURNS NUMERIC
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN more IS NULL THEN total ELSE coalesce(total, 0) + CAST(more AS NUMERIC) END
$$;

CREATE FUNCTION decimal_text(total NUMERIC) RETURNS TEXT
LANGUAGE sql IMMUTABLE AS $$ SELECT CAST(total AS TEXT) $$;

CREATE AGGREGATE decimal_sum(TEXT) (
    SFUNC = decimal_add, STYPE = NUMERIC, FINALFUNC = decimal_text
);
