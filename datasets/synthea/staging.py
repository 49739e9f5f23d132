"""Staging database of an import: rows that later files need, in a temporary SQLite file that is deleted at the end.

An export may have more conditions and claims than fit into memory. They are staged here until the patients and
encounters to which they belong are read, batch by batch.
"""

import sqlite3
from collections.abc import Collection, Iterator

from patients.models import MAX_DISEASES

_TABLES = """
CREATE TABLE patient (id TEXT PRIMARY KEY, is_new INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE condition (line INTEGER PRIMARY KEY, patient TEXT NOT NULL, disease TEXT NOT NULL);
CREATE INDEX condition_of ON condition (patient, disease);
CREATE TABLE claim (line INTEGER PRIMARY KEY, encounter TEXT NOT NULL, patient TEXT NOT NULL,
                    is_closed INTEGER NOT NULL, is_used INTEGER NOT NULL DEFAULT 0);
CREATE INDEX claim_of ON claim (encounter, patient);
CREATE TABLE medication (key BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID;
"""


class StagingDatabase:
    def __init__(self) -> None:
        self._sql = sqlite3.connect("", isolation_level=None)
        self._sql.executescript(f"PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; {_TABLES} BEGIN;")

    def close(self) -> None:
        self._sql.close()

    # --- Conditions

    def can_add_disease(self, patient: str, disease: str) -> bool:
        """Return whether a record can hold this disease beside those that are staged for the patient."""
        others = self._sql.execute(
            "SELECT count(DISTINCT disease) FROM condition WHERE patient = ? AND disease <> ?", (patient, disease)
        )
        return others.fetchone()[0] < MAX_DISEASES

    def add_condition(self, line: int, patient: str, disease: str) -> None:
        self._sql.execute("INSERT INTO condition VALUES (?, ?, ?)", (line, patient, disease))

    def diseases_of(self, patient: str) -> list[str]:
        """Return the patient's diseases, each once, in the order of the file."""
        found = self._sql.execute(
            "SELECT disease FROM condition WHERE patient = ? GROUP BY disease ORDER BY min(line)", (patient,)
        )
        return [disease for (disease,) in found]

    def add_patient(self, patient: str, *, is_new: bool) -> None:
        self._sql.execute("INSERT OR IGNORE INTO patient VALUES (?, ?)", (patient, is_new))

    def count_conditions(self, *, is_new: bool) -> int:
        """Count the conditions of the patients that this run has imported, or of those that existed before."""
        found = self._sql.execute(
            "SELECT count(*) FROM condition JOIN patient ON patient.id = condition.patient WHERE is_new = ?", (is_new,)
        )
        return found.fetchone()[0]

    def patients_without_row(self) -> list[str]:
        """Return the patients that conditions refer to and that patients.csv does not have."""
        found = self._sql.execute(
            "SELECT DISTINCT patient FROM condition WHERE patient NOT IN (SELECT id FROM patient) ORDER BY patient"
        )
        return [patient for (patient,) in found]

    def condition_lines(self, patients: Collection[str]) -> Iterator[int]:
        """Yield the lines of the conditions of these patients, in ascending order."""
        wanted = set(patients)
        found = self._sql.execute("SELECT line, patient FROM condition ORDER BY line")
        return (line for line, patient in found if patient in wanted)

    # --- Claims

    def add_claim(self, line: int, encounter: str, patient: str, *, is_closed: bool) -> None:
        self._sql.execute(
            "INSERT INTO claim (line, encounter, patient, is_closed) VALUES (?, ?, ?, ?)",
            (line, encounter, patient, is_closed),
        )

    def is_paid(self, encounter: str, patient: str) -> bool:
        """Return whether the encounter has claims and all of them are closed."""
        found = self._sql.execute(
            "SELECT min(is_closed) FROM claim WHERE encounter = ? AND patient = ?", (encounter, patient)
        )
        return bool(found.fetchone()[0])

    def use_claims(self, encounter: str, patient: str) -> int:
        """Mark the claims of a billed encounter as used and return their number."""
        used = self._sql.execute(
            "UPDATE claim SET is_used = 1 WHERE encounter = ? AND patient = ? AND NOT is_used", (encounter, patient)
        )
        return used.rowcount

    def unused_claim_lines(self) -> Iterator[int]:
        """Yield the lines of the claims that belong to no bill, in ascending order."""
        found = self._sql.execute("SELECT line FROM claim WHERE NOT is_used ORDER BY line")
        return (line for (line,) in found)

    # --- Medications

    def count_medication(self, key: bytes) -> int:
        """Count a medication row, and return how many rows before it have the same key."""
        found = self._sql.execute(
            "INSERT INTO medication VALUES (?, 0) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times",
            (key,),
        )
        return found.fetchone()[0]
