"""Models of bills and fees, in PostgreSQL.

A bill names its patient and appointment by value, because these are in MongoDB
(docs/decisions/0004-plain-values-across-databases.md).
"""

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    OPEN = "open", _("open")
    PAID = "paid", _("paid")
    VOID = "void", _("void")


class Fee(models.Model):
    """The fee of a completed visit, by the doctor's specialty.

    The row with an empty specialty applies to every specialty that has no row of its own.
    """

    specialty = models.CharField(
        _("specialty"), max_length=120, blank=True, help_text=_("Empty: every specialty that has no row of its own.")
    )
    specialty_key = models.CharField(max_length=120, unique=True, editable=False)
    amount = models.DecimalField(_("amount"), max_digits=12, decimal_places=2, validators=[MinValueValidator(0)])

    class Meta:
        verbose_name = _("fee")
        verbose_name_plural = _("fees")
        ordering = ["specialty_key"]
        constraints = [
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="fee_amount_is_not_negative"),
        ]

    def __str__(self) -> str:
        return self.specialty or str(_("all others"))


class Bill(models.Model):
    patient_id = models.CharField(_("patient id"), max_length=64)
    appointment_id = models.CharField(_("appointment id"), max_length=64, null=True, blank=True)
    disease = models.CharField(_("disease"), max_length=120, null=True, blank=True)
    total_cost = models.DecimalField(
        _("total cost"), max_digits=12, decimal_places=2, validators=[MinValueValidator(0)]
    )
    status = models.CharField(_("status"), max_length=8, choices=Status, default=Status.OPEN)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    #: The event that caused this bill. Unique, so that an event which is delivered twice leaves one bill.
    source_event_id = models.CharField(max_length=24, null=True, unique=True, editable=False)

    class Meta:
        db_table = "billing"
        verbose_name = _("bill")
        verbose_name_plural = _("bills")
        indexes = [
            models.Index(fields=["patient_id", "id"], name="bill_patient"),
            models.Index(fields=["appointment_id", "id"], name="bill_appointment"),
            models.Index(fields=["disease", "id"], name="bill_disease"),
            models.Index(fields=["status", "id"], name="bill_status"),
            models.Index(fields=["created_at", "id"], name="bill_created"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(total_cost__gte=0), name="bill_cost_is_not_negative"),
            models.CheckConstraint(condition=models.Q(status__in=Status.values), name="bill_status_is_known"),
        ]

    def __str__(self) -> str:
        return f"bill {self.pk}"


class DeletedBill(models.Model):
    """A marker for a bill that must not exist.

    If the bill's event is delivered again, the marker prevents a new bill. `check_consistency` does not report a marked
    bill as missing. An admin's deletion of a bill stores a marker, and so does the import of a visit without a cost.
    """

    source_event_id = models.CharField(max_length=24, null=True, unique=True)
    appointment_id = models.CharField(max_length=64, null=True)
    deleted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["appointment_id"], name="deleted_bill_appointment")]

    def __str__(self) -> str:
        return f"deleted bill {self.pk}"
