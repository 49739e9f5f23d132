"""Models of the patient and of the chart that is embedded in it.

Collection `patients`: `_id` is the patient_id. `appointments` and `prescriptions` hold copies of the newest documents
of those collections, so that one read returns the whole chart. The services that write the originals write the copies.
"""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_mongodb_backend.fields import ArrayField, EmbeddedModelArrayField, ObjectIdField
from django_mongodb_backend.managers import MongoManager
from django_mongodb_backend.models import EmbeddedModel

from healthcare import clock
from healthcare.mongodb.encrypted_fields import EncryptedCharField, EncryptedEmailField, EncryptedTextField
from healthcare.mongodb.indexes import TextIndex

#: The number of entries of each kind that a chart holds, the newest by date.
CHART_LENGTH = 50
MAX_DISEASES = 100


class Sex(models.TextChoices):
    """Administrative gender, http://hl7.org/fhir/administrative-gender."""

    MALE = "male", _("male")
    FEMALE = "female", _("female")
    OTHER = "other", _("other")
    UNKNOWN = "unknown", _("unknown")


class ChartAppointment(EmbeddedModel):
    """The part of an appointment that a chart holds."""

    appointment_id = models.CharField(max_length=64)
    doctor_id = models.CharField(max_length=64)
    date = models.DateField()
    time = models.CharField(max_length=5, blank=True, default="")
    duration_minutes = models.PositiveSmallIntegerField()
    status = models.CharField(max_length=16)
    disease = models.CharField(max_length=120, null=True, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.appointment_id


class ChartPrescription(EmbeddedModel):
    """The part of a prescription that a chart holds."""

    prescription_id = ObjectIdField()
    doctor_id = models.CharField(max_length=64)
    drug = models.CharField(max_length=200)
    dosage = models.CharField(max_length=64)
    frequency = models.CharField(max_length=64)
    start_date = models.DateField()
    duration_days = models.PositiveSmallIntegerField(null=True, blank=True)
    disease = models.CharField(max_length=120, null=True, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.prescription_id)


class Patient(models.Model):
    patient_id = models.CharField(_("patient id"), primary_key=True, db_column="_id", max_length=64)
    name = models.CharField(_("name"), max_length=200)
    birth_date = models.DateField(_("birth date"), null=True, blank=True)
    sex = models.CharField(_("sex"), max_length=16, choices=Sex, null=True, blank=True)
    diseases = ArrayField(
        models.CharField(max_length=120), verbose_name=_("diseases"), default=list, blank=True, size=None
    )
    phone = EncryptedCharField(_("phone"), max_length=32, null=True, blank=True)
    email = EncryptedEmailField(_("e-mail"), max_length=254, null=True, blank=True, is_deterministic=True)
    address = EncryptedCharField(_("address"), max_length=500, null=True, blank=True)
    national_id = EncryptedCharField(_("national id"), max_length=64, null=True, blank=True, is_deterministic=True)
    notes = EncryptedTextField(_("notes"), max_length=10_000, null=True, blank=True)
    user_id = models.BigIntegerField(
        _("account"),
        null=True,
        blank=True,
        help_text=_("The number of the account that belongs to this patient."),
    )
    appointments = EmbeddedModelArrayField(ChartAppointment, default=list, blank=True, editable=False)
    prescriptions = EmbeddedModelArrayField(ChartPrescription, default=list, blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)
    #: Incremented by every clinical write about the patient, so that two such writes always conflict
    #: (docs/decisions/0006-one-transaction-per-clinical-write.md).
    revision = models.BigIntegerField(default=0, editable=False)

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "patients"
        verbose_name = _("patient")
        verbose_name_plural = _("patients")
        indexes = [
            models.Index(fields=["name", "patient_id"], name="patient_name"),
            models.Index(fields=["diseases", "name", "patient_id"], name="patient_disease"),
            models.Index(fields=["national_id", "name", "patient_id"], name="patient_national_id"),
            TextIndex(fields=["name"], name="patient_name_text"),
        ]
        constraints = [
            # Every account number is greater than 0. The planner uses a partial index with this condition for
            # `user_id = 5`, but not one with `$type` or `$exists`.
            models.UniqueConstraint(fields=["user_id"], condition=Q(user_id__gt=0), name="patient_user"),
        ]

    def __str__(self) -> str:
        return str(self.patient_id)
