"""The rollups that reports read. `reports.projections` updates them in the transaction of every clinical write.

A report does not take longer when there are more appointments: months, doctors and diseases are few, and a pair or a
treatment is read only by a write about it.
"""

from typing import ClassVar

from django.db import models
from django_mongodb_backend.managers import MongoManager


class Counter(models.Model):
    """Sums, in documents of one collection, so that a write updates all of its sums with one command.

    - "month 2025 17": `months.09.completed` and so on, the appointments of each month by status, in bucket 17;
    - "disease prescriptions 17": `diseases.<key>` {name, patients, ongoing, days} over treatments, in bucket 17;
    - "cost 17": `diseases.<key>` {name, prescriptions, costed, cents} over prescriptions, in bucket 17;
    - "doctor D456": {doctor_id, patients, appointments} over appointments that are not cancelled. A doctor has no
      buckets, because the index then returns the first five doctors without reading the others, which is worth a
      rare conflict;
    - "corrections": {turn}, the number of corrections by `rebuild_reports`;
    - "guard D456 17": no content; see `projections.guard_id`.

    Each thread of a process writes to one bucket, so that writers do not wait for one another. Readers add the buckets
    up.
    """

    id = models.CharField(primary_key=True, db_column="_id", max_length=100)
    doctor_id = models.CharField(max_length=64, null=True)
    patients = models.BigIntegerField(null=True)
    appointments = models.BigIntegerField(null=True)

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "report_counters"
        default_permissions = ()
        # A permission for all reports, which have no model of their own.
        permissions = [("view_report", "Can view reports")]
        # Only the documents of doctors have these fields.
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
    """The number of appointments that a patient has with a doctor, cancelled ones left out.

    A write reads it to know whether a doctor gains or loses a patient. `_id` is {p: patient_id, d: doctor_id}, with the
    patient first, so that the documents of a patient are one range of the index.
    """

    id = models.JSONField(primary_key=True, db_column="_id")
    n = models.PositiveIntegerField()

    class Meta:
        db_table = "report_pairs"
        default_permissions = ()

    def __str__(self) -> str:
        return "pair"


class Treatment(models.Model):
    """A patient's treatment of a disease on one of the two bases. `_id` is {p: patient_id, d: disease, b: basis}."""

    id = models.JSONField(primary_key=True, db_column="_id")
    ongoing = models.BooleanField()
    #: Days from the first to the last day, both counted; 0 while the treatment is ongoing.
    days = models.PositiveIntegerField()

    class Meta:
        db_table = "report_treatments"
        default_permissions = ()

    def __str__(self) -> str:
        return "treatment"


class Result(models.Model):
    """The stored rows of a report that is rebuilt at most once a minute, and the time as of which they are correct."""

    name = models.CharField(primary_key=True, db_column="_id", max_length=64)
    as_of = models.DateTimeField(null=True)
    #: The end of the lease by which one process rebuilds the report.
    busy_until = models.DateTimeField(null=True)

    class Meta:
        db_table = "report_results"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)
