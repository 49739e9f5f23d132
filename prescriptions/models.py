"""Model of the prescription (FHIR: MedicationRequest). Collection `prescriptions`."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_mongodb_backend.managers import MongoManager

from healthcare import clock


class Prescription(models.Model):
    patient_id = models.CharField(_("patient id"), max_length=64)
    doctor_id = models.CharField(_("doctor id"), max_length=64)
    appointment_id = models.CharField(_("appointment id"), max_length=64, null=True, blank=True)
    drug = models.CharField(_("drug"), max_length=200)
    dosage = models.CharField(_("dosage"), max_length=64)
    frequency = models.CharField(_("frequency"), max_length=64)
    cost = models.DecimalField(_("cost"), max_digits=12, decimal_places=2, null=True, blank=True)
    disease = models.CharField(_("disease"), max_length=120, null=True, blank=True)
    start_date = models.DateField(_("start date"))
    duration_days = models.PositiveSmallIntegerField(
        _("days"), null=True, blank=True, help_text=_("Empty while the end is open.")
    )
    instructions = models.TextField(_("instructions"), max_length=2_000, null=True, blank=True)
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "prescriptions"
        verbose_name = _("prescription")
        verbose_name_plural = _("prescriptions")
        indexes = [
            models.Index(fields=["patient_id", "start_date", "id"], name="prescription_patient"),
            models.Index(fields=["doctor_id", "start_date", "id"], name="prescription_doctor"),
            models.Index(fields=["disease", "start_date", "id"], name="prescription_disease"),
            models.Index(fields=["start_date", "id"], name="prescription_start"),
            models.Index(fields=["appointment_id"], name="prescription_appointment"),
        ]

    def __str__(self) -> str:
        return str(self.pk)
