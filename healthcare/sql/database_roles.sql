-- PostgreSQL roles for production and their rights on each table. Run this file as the owner of the tables after each
-- `manage.py migrate`; it can run any number of times:
--
--     psql "$OWNER_DATABASE_URL" -f healthcare/sql/database_roles.sql
--
-- Grant the roles to the accounts that log in, and use the owner's own login for migrations only:
--
--     GRANT healthcare_app TO hospital_web;              -- DATABASE_URL of the servers and of relay_events
--     GRANT healthcare_archivist TO hospital_archive;    -- ARCHIVE_DATABASE_URL of archive_audit

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'healthcare_app') THEN
        CREATE ROLE healthcare_app NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'healthcare_archivist') THEN
        CREATE ROLE healthcare_archivist NOLOGIN;
    END IF;
END $$;

GRANT USAGE ON SCHEMA public TO healthcare_app, healthcare_archivist;

-- The application writes accounts, sessions and bills, and reads the list of applied migrations.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO healthcare_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO healthcare_app;
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM healthcare_app;

-- The application inserts and reads entries of the audit log through the parent tables only, never through a partition.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        SELECT inhrelid FROM pg_inherits
        WHERE inhparent IN ('public.audit_entries'::regclass, 'public.audit_patients'::regclass)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM healthcare_app, healthcare_archivist, PUBLIC', part);
    END LOOP;
END $$;
REVOKE ALL ON audit_entries, audit_patients, audit_heads FROM healthcare_app, healthcare_archivist, PUBLIC;
GRANT SELECT, INSERT ON audit_entries, audit_patients, audit_heads TO healthcare_app;
GRANT EXECUTE ON FUNCTION audit_make_month(date) TO healthcare_app;

-- The archivist reads the audit log and drops months that have ended, and may do nothing else.
GRANT SELECT ON audit_entries, audit_patients, audit_entry_id TO healthcare_archivist;
GRANT EXECUTE ON FUNCTION audit_make_month(date), audit_drop_month(date, bigint) TO healthcare_archivist;
