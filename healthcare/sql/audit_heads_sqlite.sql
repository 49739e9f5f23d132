-- The hashes of the seals, kept apart from the seals in MongoDB, for a trial on SQLite.

CREATE TABLE audit_heads (
    number integer PRIMARY KEY,
    hash text NOT NULL,
    noted_at datetime NOT NULL DEFAULT CURRENT_TIMESTAMP
);
CREATE TRIGGER audit_heads_no_update BEFORE UPDATE ON audit_heads
    BEGIN SELECT RAISE(ABORT, 'Entries of the audit log are never changed or deleted.'); END;
CREATE TRIGGER audit_heads_no_delete BEFORE DELETE ON audit_heads
    BEGIN SELECT RAISE(ABORT, 'Entries of the audit log are never changed or deleted.'); END;
