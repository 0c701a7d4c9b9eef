-- Which node runs it; '' on an embedded installation, and while no node has begun to.
ALTER TABLE requests ADD COLUMN node TEXT NOT NULL DEFAULT '';
DROP INDEX requests_waiting;
CREATE INDEX requests_waiting ON requests (key_id, lane, priority, seq) WHERE state = 'queued';
CREATE INDEX requests_due ON requests (not_before) WHERE state = 'queued';
CREATE INDEX requests_by_key ON requests (key_id, seq);

-- Whose request it tells of, and whether its receiver may be shown what the request kept for itself.
ALTER TABLE deliveries ADD COLUMN key_id TEXT NOT NULL DEFAULT '';
UPDATE deliveries SET key_id = (SELECT key_id FROM requests WHERE requests.id = deliveries.request_id);
CREATE INDEX deliveries_by_key ON deliveries (key_id, id);
CREATE INDEX deliveries_by_state ON deliveries (state, id);
