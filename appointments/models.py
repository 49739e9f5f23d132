"""Models of the appointment (FHIR: Appointment, Encounter). Collection `appointments`: `_id` is the appointment_id."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_mongodb_backend.managers import MongoManager

from healthcare import clock


class Status(models.TextChoices):
    """The status of an appointment; completed and cancelled are final."""

    SCHEDULED = "scheduled", _("scheduled")
    COMPLETED = "completed", _("completed")
    CANCELLED = "cancelled", _("cancelled")


class Appointment(models.Model):
    appointment_id = models.CharField(_("appointment id"), primary_key=True, db_column="_id", max_length=64)
    patient_id = models.CharField(_("patient id"), max_length=64)
    doctor_id = models.CharField(_("doctor id"), max_length=64)
    #: The wall date and wall time in the doctor's time zone. An untimed visit has the empty string and not null,
    #: because MongoDB must read a document to compare null: a page would also read the documents before it.
    date = models.DateField(_("date"))
    time = models.CharField(_("time"), max_length=5, blank=True, default="")
    duration_minutes = models.PositiveSmallIntegerField(_("minutes"))
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.SCHEDULED)
    disease = models.CharField(_("disease"), max_length=120, null=True, blank=True)
    #: The instant that `date` and `time` mean; null for an untimed visit.
    starts_at = models.DateTimeField(_("starts at"), null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "appointments"
        verbose_name = _("appointment")
        verbose_name_plural = _("appointments")
        # Filter fields first, then the fields of the lists' order, so that each page is one range of one index. The
        # first two end in the status: if the planner prefers them for a filter on it, they skip keys, not documents.
        indexes = [
            models.Index(fields=["doctor_id", "date", "time", "appointment_id", "status"], name="appointment_doctor"),
            models.Index(fields=["patient_id", "date", "time", "appointment_id", "status"], name="appointment_patient"),
            models.Index(
                fields=["doctor_id", "status", "date", "time", "appointment_id"], name="appointment_doctor_status"
            ),
            models.Index(
                fields=["patient_id", "status", "date", "time", "appointment_id"], name="appointment_patient_status"
            ),
            models.Index(fields=["date", "time", "appointment_id"], name="appointment_date"),
            models.Index(fields=["status", "date", "time", "appointment_id"], name="appointment_status"),
            # Covers the report on doctors, which therefore fetches no document (docs/indexes.md). Cancelled visits are
            # left out: the report does not count them, and so the planner does not try this index for lists of them.
            models.Index(
                fields=["date", "status", "doctor_id", "patient_id"],
                name="appointment_report",
                condition=models.Q(status__in=["completed", "scheduled"]),
            ),
        ]

    def __str__(self) -> str:
        return str(self.appointment_id)


class Claim(models.Model):
    """A claim of a scheduled visit on five minutes of its doctor or patient; see `appointments.claims`."""

    claim_id = models.CharField(primary_key=True, db_column="_id", max_length=100)
    appointment_id = models.CharField(max_length=64)

    class Meta:
        db_table = "claims"
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.claim_id)
