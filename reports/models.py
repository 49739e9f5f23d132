"""The rollups that reports read: kept exact in the transaction of every clinical write (`reports.projections`).

None of them grows with the number of appointments a report has to read: months, doctors and diseases are few, and a
pair or a treatment is read only when a write is about it.
"""

from typing import ClassVar

from django.db import models
from django_mongodb_backend.managers import MongoManager


class Counter(models.Model):
    """Sums. One collection, so that a write changes all that it counts in one command.

    - "month 2025 17": `months.09.completed` … appointments of that month by status, in bucket 17;
    - "disease prescriptions 17": `diseases.<key>` {name, patients, ongoing, days} over treatments, in bucket 17;
    - "cost 17": `diseases.<key>` {name, prescriptions, costed, cents} over prescriptions, in bucket 17;
    - "doctor D456": {doctor_id, patients, appointments} over appointments that are not cancelled, no buckets: that its
      index gives the first five doctors without reading the others is worth the rare conflict;
    - "corrections": {turn}, how often `rebuild_reports` has added to any of them;
    - "guard D456 17": nothing; see `projections.guard`.

    A bucket belongs to a thread of a process, so that writers do not wait for one another; readers add them up.
    """

    id = models.CharField(primary_key=True, db_column="_id", max_length=100)
    doctor_id = models.CharField(max_length=64, null=True)
    patients = models.BigIntegerField(null=True)
    appointments = models.BigIntegerField(null=True)

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "report_counters"
        default_permissions = ()
        # Of the reports as a whole; they have no model of their own.
        permissions = [("view_report", "Can view reports")]
        # Only the doctors' documents have these fields.
        indexes = [
            models.Index(
                fields=["-patients", "-appointments", "doctor_id"],
                name="report_by_patients",
                condition=models.Q(patients__gt=0),
            ),
            models.Index(
                fields=["-appointments", "-patients", "doctor_id"],
                name="report_by_appointments",
                condition=models.Q(appointments__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return str(self.pk)


class Pair(models.Model):
    """How many appointments that are not cancelled a patient has with a doctor. `_id`: {p: patient_id, d: doctor_id}.

    It says when a doctor gains or loses a patient. The patient comes first, so that a patient's are one range.
    """

    id = models.JSONField(primary_key=True, db_column="_id")
    n = models.PositiveIntegerField()

    class Meta:
        db_table = "report_pairs"
        default_permissions = ()

    def __str__(self) -> str:
        return "pair"


class Treatment(models.Model):
    """A patient's treatment of a disease, on one of the two bases. `_id`: {p: patient_id, d: disease, b: basis}."""

    id = models.JSONField(primary_key=True, db_column="_id")
    ongoing = models.BooleanField()
    #: From the first to the last day, both counted; 0 while it is ongoing.
    days = models.PositiveIntegerField()

    class Meta:
        db_table = "report_treatments"
        default_permissions = ()

    def __str__(self) -> str:
        return "treatment"


class Result(models.Model):
    """A report that is made anew now and then: its rows, and when they were right."""

    name = models.CharField(primary_key=True, db_column="_id", max_length=64)
    as_of = models.DateTimeField(null=True)
    #: Until when one process is at work on it.
    busy_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "report_results"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)
