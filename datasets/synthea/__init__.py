"""A Synthea CSV export, read into both databases (`manage.py import_synthea`). It is a part of the commands.

    files       the export as a stream of records, with their lines
    mapping     a record → an unsaved model, validated as the API does; pure, as are medication, places and terms
    scratch     what a later file needs of an earlier one, on disk and not in memory
    writing     bulk writes that are there or not there, charts included; and their rehearsal (`--dry-run`)
    importing   the steps, file by file
    results     the figures, the rejected rows, the progress

What becomes what, and what was decided:

**Ids.** Patients, providers and encounters keep their UUIDs. A medication has none: its ObjectId is a part of the
SHA-256 of patient, encounter, code and start, and of a number that tells true duplicates apart. A bill belongs to its
`appointment_id`: a visit that has a bill gets no other. So a second run finds everything there. What is there stays
as it is, also when it differs from the export: somebody may have changed it.

**Visits.** `starts_at` is the encounter's START to the second; `date` and `time` are what the wall clock showed at the
doctor's, to the minute; `duration_minutes` is STOP − START rounded up, from 1 to 32,767 (22 days: what the field
holds; a longer stay is kept as that). A visit that has taken place need not lie on the 5-minute grid. A START in the
future is a scheduled visit and has to: it begins at the grid's minute at or before START, ends at the one at or after
STOP, and is refused where the claims of another (design decision 8) are in its way or it would last more than the API
admits. The doctor's zone is that of the
provider's STATE, else of the organization's, else UTC.

**Diseases.** An encounter's reason is the visit's disease, a patient's conditions are the patient's diseases; what was
found at a visit is not why somebody came, so conditions are not the visit's. "(disorder)" is cut off; a term of another
SNOMED CT semantic tag, such as "(finding)", is no disease; a term without a tag, as older exports have them, is one.

**Prescriptions.** The text becomes drug and dose (see `medication`) and is kept whole as the instructions; the
frequency, of which an export says nothing, is "As directed". `cost` is BASE_COST, one dispense: the total depends on
how long the patient has lived. Both days count: a course from 1 to 15 May has 15 days.

**Bills.** TOTAL_CLAIM_COST, to the cent, half even; made at STOP; paid when the encounter has claims and all of them
are closed, else open. A visit without a cost has no bill, and is noted as one that nobody should miss.

**Patients.** Digits at the end of names are Synthea's and go. PREFIX (Mr., Ms.) is a form of address and would sort the
lists: left out. A death becomes a note, since the record has no field for it.
"""
