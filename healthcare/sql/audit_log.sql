-- The tables of the audit log for PostgreSQL; healthcare/migrations/0002_audit_trail.py runs this file.
--
-- Both tables are partitioned by month, so that old months are archived by dropping a table; nobody can delete rows.
-- The default partition takes the entries of a month without a partition, so no entry is ever rejected.

CREATE SEQUENCE audit_entry_id;

CREATE TABLE audit_entries (
    -- The default assigns the transaction its number before the entry gets its id. A reader that has read the sequence
    -- and then waits for all transactions of that moment to end sees every entry up to it; sealing relies on that
    -- (audit/services.py).
    id bigint NOT NULL DEFAULT CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('audit_entry_id') END,
    at timestamptz NOT NULL,
    actor_id bigint,
    role text NOT NULL,
    action text NOT NULL,
    patient_ids text[] NOT NULL,
    subject text,
    outcome text NOT NULL,
    reason text,
    channel text NOT NULL,
    address text,
    request_id text,
    -- The event from which the entry was made, so that an event that is delivered twice leaves one entry.
    source text,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE UNIQUE INDEX audit_entry_source ON audit_entries (source, at) WHERE source IS NOT NULL;
CREATE INDEX audit_entry_arrival ON audit_entries (id);
CREATE INDEX audit_entry_actor ON audit_entries (actor_id, at, id);
CREATE INDEX audit_entry_action ON audit_entries (action, at, id);
CREATE INDEX audit_entry_refused ON audit_entries (at, id) WHERE outcome = 'refused';

-- One row for each patient of an entry. An index on the array itself cannot return the newest entries of a patient in
-- order: with 60,000 of 3,000,000 entries about one patient, whom every list shows first, a page took 230 ms.
CREATE TABLE audit_patients (
    patient_id text NOT NULL,
    at timestamptz NOT NULL,
    entry_id bigint NOT NULL,
    PRIMARY KEY (patient_id, at, entry_id)
) PARTITION BY RANGE (at);

CREATE TABLE audit_entries_other PARTITION OF audit_entries DEFAULT;
CREATE TABLE audit_patients_other PARTITION OF audit_patients DEFAULT;

CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Entries of the audit trail are never changed or deleted.' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_insert_only BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_insert_only BEFORE UPDATE OR DELETE ON audit_patients
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_entries EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_patients EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_entries_other EXECUTE FUNCTION audit_refuse_change();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_patients_other EXECUTE FUNCTION audit_refuse_change();

-- The functions below belong to the owner of the tables and run with the owner's rights. The application may create
-- months and the archivist may drop them, but neither may alter the tables (healthcare/sql/database_roles.sql).

CREATE FUNCTION audit_make_month(wanted date) RETURNS boolean
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
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS)', part, parent);
        -- Entries that came while the month had no partition of its own move into it, unchanged.
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER audit_insert_only', parent || '_other');
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE at >= %L AND at < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
            parent || '_other', starts_at, ends_at, part);
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER audit_insert_only', parent || '_other');
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, starts_at, ends_at);
        EXECUTE format(
            'CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION audit_refuse_change()', part);
    END LOOP;
    RETURN true;
END $$;

-- `upto`: the id of the last entry in the archived file. Later entries of the month stay.
CREATE FUNCTION audit_drop_month(wanted date, upto bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    starts_at timestamptz := date_trunc('month', wanted::timestamp) AT TIME ZONE 'UTC';
    ends_at timestamptz := (date_trunc('month', wanted::timestamp) + interval '1 month') AT TIME ZONE 'UTC';
    suffix text := to_char(wanted, 'YYYY_MM');
    gone boolean := false;
    entries bigint;
    parent text;
BEGIN
    IF ends_at > now() THEN
        RAISE EXCEPTION 'Only whole months that have ended are archived.';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('audit_make_month'));
    FOREACH parent IN ARRAY ARRAY['audit_patients', 'audit_entries'] LOOP
        gone := gone OR to_regclass(parent || '_' || suffix) IS NOT NULL;
        EXECUTE format('DROP TABLE IF EXISTS %I', parent || '_' || suffix);
        EXECUTE format('ALTER TABLE %I DISABLE TRIGGER audit_insert_only', parent || '_other');
        EXECUTE format(
            'DELETE FROM %I WHERE at >= %L AND at < %L AND %I <= %L',
            parent || '_other', starts_at, ends_at,
            CASE parent WHEN 'audit_entries' THEN 'id' ELSE 'entry_id' END, upto);
        GET DIAGNOSTICS entries = ROW_COUNT;
        gone := gone OR entries > 0;
        EXECUTE format('ALTER TABLE %I ENABLE TRIGGER audit_insert_only', parent || '_other');
    END LOOP;
    RETURN gone;
END $$;

REVOKE ALL ON FUNCTION audit_make_month(date), audit_drop_month(date, bigint) FROM PUBLIC;

SELECT audit_make_month((date_trunc('month', now() AT TIME ZONE 'UTC') + offset_months * interval '1 month')::date)
FROM generate_series(-1, 3) AS offset_months;
