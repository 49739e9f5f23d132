-- The hashes of the seals, and functions that keep late entries when a month is dropped; for PostgreSQL.
-- healthcare/migrations/0004_audit_heads.py runs this file after audit_log.sql.

-- The number and hash of each seal, stored when the seal is made. A person who can rewrite MongoDB can neither cut off
-- the end of the chain of seals nor start a new chain without contradicting this table.
CREATE TABLE audit_heads (
    number bigint PRIMARY KEY,
    hash text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_heads EXECUTE FUNCTION audit_refuse_change();

-- Statement triggers reject the statement even if it matches no row, on the tables and on each of their partitions.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        SELECT unnest(ARRAY['audit_entries'::regclass, 'audit_patients'::regclass])
        UNION ALL
        SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('audit_entries'::regclass, 'audit_patients'::regclass)
    LOOP
        EXECUTE format('DROP TRIGGER audit_no_truncate ON %s', part);
        EXECUTE format('CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON %s'
            ' EXECUTE FUNCTION audit_refuse_change()', part);
    END LOOP;
END $$;

-- The range of times that a seal can cover. An entry outside it, which only a forger would insert, would stop sealing.
ALTER TABLE audit_entries
    ADD CONSTRAINT audit_entry_time CHECK (at >= '1970-01-01T00:00Z' AND at < '5000-01-01T00:00Z');

CREATE OR REPLACE FUNCTION audit_make_month(wanted date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    starts_at timestamptz := date_trunc('month', wanted::timestamp) AT TIME ZONE 'UTC';
    ends_at timestamptz := (date_trunc('month', wanted::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    suffix text := to_char(wanted, 'YYYY_MM');
    parent text;
    part text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('audit_make_month'));
    IF to_regclass('audit_entries_' || suffix) IS NOT NULL THEN
        RETURN false;
    END IF;
    FOREACH parent IN ARRAY ARRAY['audit_entries', 'audit_patients'] LOOP
        part := parent || '_' || suffix;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
        -- Entries that came while the month had no partition of its own move into it, unchanged.
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', parent || '_other');
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE at >= %L AND at < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
            parent || '_other', starts_at, ends_at, part);
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', parent || '_other');
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, starts_at, ends_at);
        EXECUTE format('CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON %I'
            ' EXECUTE FUNCTION audit_refuse_change()', part);
    END LOOP;
    RETURN true;
END $$;

-- `upto`: the id of the last entry in the archived file. Later entries of the month stay, including those that were
-- inserted after the file was written.
CREATE OR REPLACE FUNCTION audit_drop_month(wanted date, upto bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    starts_at timestamptz := date_trunc('month', wanted::timestamp) AT TIME ZONE 'UTC';
    ends_at timestamptz := (date_trunc('month', wanted::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    gone boolean := false;
    entries bigint;
    parent text;
    part text;
    key text;
BEGIN
    IF ends_at > now() THEN
        RAISE EXCEPTION 'Only whole months that have ended are archived.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('audit_make_month'));
    FOREACH parent IN ARRAY ARRAY['audit_patients', 'audit_entries'] LOOP
        part := parent || '_' || to_char(wanted, 'YYYY_MM');
        key := CASE parent WHEN 'audit_entries' THEN 'id' ELSE 'entry_id' END;
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER USER', parent || '_other');
        EXECUTE format('DELETE FROM %I WHERE at >= %L AND at < %L AND %I <= %L',
            parent || '_other', starts_at, ends_at, key, upto);
        GET DIAGNOSTICS entries = ROW_COUNT;
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER USER', parent || '_other');
        gone := gone OR entries > 0;
        IF to_regclass(part) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, part);
            EXECUTE format('INSERT INTO %I SELECT * FROM %I WHERE %I > %L', parent, part, key, upto);
            EXECUTE format('DROP TABLE %I', part);
            gone := true;
        END IF;
    END LOOP;
    RETURN gone;
END $$;
