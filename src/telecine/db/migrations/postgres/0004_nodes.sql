-- Which node runs it; '' while no node has begun to.
ALTER TABLE requests ADD COLUMN node TEXT NOT NULL DEFAULT '';
DROP INDEX requests_waiting;
CREATE INDEX requests_waiting ON requests (key_id, lane, priority, seq) WHERE state = 'queued';
CREATE INDEX requests_due ON requests (not_before) WHERE state = 'queued';
CREATE INDEX requests_by_key ON requests (key_id, seq);
CREATE INDEX requests_by_node ON requests (node) WHERE state = 'running';

ALTER TABLE deliveries ADD COLUMN key_id TEXT NOT NULL DEFAULT '';
UPDATE deliveries SET key_id = (SELECT key_id FROM requests WHERE requests.id = deliveries.request_id);
CREATE INDEX deliveries_by_key ON deliveries (key_id, id);
CREATE INDEX deliveries_by_state ON deliveries (state, id);

-- Who takes part. A node that has not been seen for a while is gone, with what it ran. One row per
-- node instead of a lease per request: what is written all the time stays small.
CREATE TABLE nodes (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL,                                   -- the machine's, for people
    slots    BIGINT NOT NULL,                                 -- queued requests that it runs at once
    seen_at  DOUBLE PRECISION NOT NULL                        -- by the database's clock
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- What all nodes sign with: bytes that a single installation keeps in its data folder.
CREATE TABLE secrets (
    name     TEXT PRIMARY KEY,
    value    TEXT NOT NULL,
    version  BIGINT NOT NULL DEFAULT 1
);

-- Rows that change their state several times a minute leave dead versions behind: room for the new
-- ones on the same page, and a vacuum long before a fifth of the table is dead.
ALTER TABLE requests SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE deliveries SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE turns SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE pins SET (autovacuum_vacuum_scale_factor = 0.02);
ALTER TABLE checkpoints SET (autovacuum_vacuum_scale_factor = 0.02);
