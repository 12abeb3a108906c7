-- What the database needs before the connector starts, besides wal_level = logical. Run once, as the owner of the tables
-- with the right to make roles:
--   psql --set debezium_password=... --file setup.sql platform

-- A change event holds the row before the change, all of it. Without this a deletion tells neither tenant nor revision,
-- and a large column that did not change is missing.
ALTER TABLE restore_runs REPLICA IDENTITY FULL;
ALTER TABLE operation_runs REPLICA IDENTITY FULL;
ALTER TABLE evidence_snapshots REPLICA IDENTITY FULL;

-- What is followed. A truncation is not: it names no rows, so nothing could follow from it.
CREATE PUBLICATION restore_projector FOR TABLE restore_runs, operation_runs, evidence_snapshots
    WITH (publish = 'insert, update, delete');

-- PostgreSQL keeps its log until the connector has confirmed it, and the connector only confirms what comes through the
-- publication: where these tables are quiet and others are busy, the disk would fill. So the connector writes here.
CREATE TABLE restore_projector_heartbeat (one boolean PRIMARY KEY CHECK (one), at timestamptz NOT NULL);
INSERT INTO restore_projector_heartbeat VALUES (true, now());
ALTER PUBLICATION restore_projector ADD TABLE restore_projector_heartbeat;

-- Who follows: reads three tables, and writes nothing but that.
CREATE ROLE debezium LOGIN REPLICATION PASSWORD :'debezium_password';
GRANT USAGE ON SCHEMA public TO debezium;
GRANT SELECT ON restore_runs, operation_runs, evidence_snapshots TO debezium;
GRANT UPDATE ON restore_projector_heartbeat TO debezium;
