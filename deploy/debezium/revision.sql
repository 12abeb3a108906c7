-- A number that grows with every change of a row, and goes on growing when a row is deleted and comes back: what decides
-- which of two change events is the newer one. Run once, before the connector starts, as the owner of the tables:
--   psql --file revision.sql platform

-- Rows that are there already get their numbers here. The sequence must not cache (the default), or sessions would
-- number out of order.
CREATE SEQUENCE restore_revisions AS bigint;
ALTER TABLE restore_runs ADD COLUMN revision bigint NOT NULL DEFAULT nextval('restore_revisions');
ALTER TABLE operation_runs ADD COLUMN revision bigint NOT NULL DEFAULT nextval('restore_revisions');
ALTER TABLE evidence_snapshots ADD COLUMN revision bigint NOT NULL DEFAULT nextval('restore_revisions');
ALTER TABLE restore_runs ALTER COLUMN revision DROP DEFAULT;
ALTER TABLE operation_runs ALTER COLUMN revision DROP DEFAULT;
ALTER TABLE evidence_snapshots ALTER COLUMN revision DROP DEFAULT;

-- Drawn while the row is locked, so a row's numbers grow in the order in which its changes are committed. Drawn with the
-- rights of this function's owner, so those who write rows need no right of their own.
CREATE FUNCTION next_restore_revision() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    NEW.revision := nextval('restore_revisions');
    RETURN NEW;
END
$$;
CREATE TRIGGER revision BEFORE INSERT OR UPDATE ON restore_runs
    FOR EACH ROW EXECUTE FUNCTION next_restore_revision();
CREATE TRIGGER revision BEFORE INSERT OR UPDATE ON operation_runs
    FOR EACH ROW EXECUTE FUNCTION next_restore_revision();
CREATE TRIGGER revision BEFORE INSERT OR UPDATE ON evidence_snapshots
    FOR EACH ROW EXECUTE FUNCTION next_restore_revision();
