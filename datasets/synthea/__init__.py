"""The importer behind `manage.py import_synthea`, which reads a Synthea CSV export into both databases.

    files          the export as a stream of records with their line numbers
    mapping        one record → one unsaved model, validated as the API does. A pure function, like the functions of
                   `medication`, `places` and `terms`
    staging        rows that later files need, in a temporary SQLite database instead of memory
    writing        bulk writes that can be repeated, patients' charts included; and the dry run
    chart_updates  the stages and updates for the charts that patients embed
    importing      the steps of an import, file by file
    results        figures, rejected rows and progress

The rules by which an export becomes records:

**Ids.** Patients, providers and encounters keep their UUIDs. A medication has no id in the export: its ObjectId is the
beginning of a SHA-256 over patient, encounter, code, start and a number that distinguishes true duplicates. A bill is
identified by its `appointment_id`, and a visit that has a bill gets no other one. Therefore a second run finds every
record. A record that exists stays as it is, even if it differs from the export, because somebody may have changed it.

**Visits.** `starts_at` is the START of the encounter to the second. `date` and `time` are the wall time at the
doctor's, to the minute. `duration_minutes` is STOP − START, rounded up, between 1 and 32,767 (22 days), the maximum of
the field; a longer stay is stored with the maximum. A visit in the past need not lie on the 5-minute grid. A START in
the future is a scheduled visit, which must lie on the grid: it begins at the grid's minute at or before START and ends
at the one at or after STOP. The import rejects it if it overlaps another scheduled visit
(docs/decisions/0008-claims-against-double-booking.md) or lasts longer than the API allows. The doctor's time zone is
that of the provider's STATE, else that of the organization's STATE, else UTC.

**Diseases.** The reason of an encounter is the disease of the visit. The conditions of a patient are the patient's
diseases. A condition that was found at a visit is not the reason for the visit, so conditions are not the visit's
diseases. "(disorder)" is removed. A term with another semantic tag of SNOMED CT, such as "(finding)", is no disease. A
term without a tag, as in older exports, is a disease.

**Prescriptions.** The description becomes drug and dose (see `medication`), and the whole text becomes the
instructions. An export has no frequency, so it is "As directed". `cost` is BASE_COST, the cost of one dispense, because
the total depends on how long the patient has lived. The first and the last day both count: a course from 1 to 15 May
has 15 days.

**Bills.** The amount is TOTAL_CLAIM_COST, rounded to hundredths, half to even. A bill is created at STOP. Its status is
paid if the encounter has claims and all of them are closed, else open. A visit without a cost gets no bill and is
marked so that the consistency check does not miss one.

**Patients.** The digits at the end of Synthea's names are removed. PREFIX (Mr., Ms.) is left out, because lists are
sorted by name. A death becomes a note, because the record has no field for it.
"""
