-- The tables of the audit log for a trial on SQLite. They have the same columns and reject changes too, but there are
-- no partitions and no roles.

CREATE TABLE audit_entries (
    id integer PRIMARY KEY AUTOINCREMENT,
    at datetime NOT NULL,
    actor_id bigint,
    role text NOT NULL,
    action text NOT NULL,
    patient_ids text NOT NULL,
    subject text,
    outcome text NOT NULL,
    reason text,
    channel text NOT NULL,
    address text,
    request_id text,
    source text
);
CREATE UNIQUE INDEX audit_entry_source ON audit_entries (source, at) WHERE source IS NOT NULL;
CREATE INDEX audit_entry_time ON audit_entries (at, id);
CREATE INDEX audit_entry_actor ON audit_entries (actor_id, at, id);
CREATE INDEX audit_entry_action ON audit_entries (action, at, id);
CREATE INDEX audit_entry_refused ON audit_entries (at, id) WHERE outcome = 'refused';
CREATE TABLE audit_patients (
    patient_id text NOT NULL,
    at datetime NOT NULL,
    entry_id integer NOT NULL,
    PRIMARY KEY (patient_id, at, entry_id)
) WITHOUT ROWID;
CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'Entries of the audit log are never changed or deleted.'); END;
CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries
    BEGIN SELECT RAISE(ABORT, 'Entries of the audit log are never changed or deleted.'); END;
CREATE TRIGGER audit_patients_no_update BEFORE UPDATE ON audit_patients
    BEGIN SELECT RAISE(ABORT, 'Entries of the audit log are never changed or deleted.'); END;
CREATE TRIGGER audit_patients_no_delete BEFORE DELETE ON audit_patients
    BEGIN SELECT RAISE(ABORT, 'Entries of the audit log are never changed or deleted.'); END;
