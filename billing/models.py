"""The bill. PostgreSQL; it names patient and appointment by value, since those live in MongoDB."""

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    OPEN = "open", _("open")
    PAID = "paid", _("paid")
    VOID = "void", _("void")


class Bill(models.Model):
    patient_id = models.CharField(_("patient id"), max_length=64)
    appointment_id = models.CharField(_("appointment id"), max_length=64, null=True, blank=True)
    disease = models.CharField(_("disease"), max_length=120, null=True, blank=True)
    total_cost = models.DecimalField(
        _("total cost"), max_digits=12, decimal_places=2, validators=[MinValueValidator(0)]
    )
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.OPEN)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    class Meta:
        db_table = "billing"
        verbose_name = _("bill")
        verbose_name_plural = _("bills")
        indexes = [
            models.Index(fields=["patient_id", "id"], name="bill_patient"),
            models.Index(fields=["appointment_id", "id"], name="bill_appointment"),
            models.Index(fields=["disease", "id"], name="bill_disease"),
            models.Index(fields=["status", "id"], name="bill_status"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(total_cost__gte=0), name="bill_cost_is_not_negative"),
            models.CheckConstraint(condition=models.Q(status__in=Status.values), name="bill_status_is_known"),
        ]

    def __str__(self) -> str:
        return f"bill {self.pk}"
