"""Models of the doctor, weekly hours and exceptions to them. Collection `doctors`: `_id` is the doctor_id."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _
from django_mongodb_backend.fields import EmbeddedModelArrayField
from django_mongodb_backend.managers import MongoManager
from django_mongodb_backend.models import EmbeddedModel

from healthcare import clock
from healthcare.mongodb.indexes import TextIndex

DEFAULT_SLOT_MINUTES = 30
MAX_SPECIALTY_LENGTH = 120


class WeeklyHours(EmbeddedModel):
    """Working hours on a weekday, in the doctor's time zone."""

    weekday = models.PositiveSmallIntegerField(help_text=_("Monday is 0."))
    start = models.CharField(max_length=5)
    end = models.CharField(max_length=5)
    slot_minutes = models.PositiveSmallIntegerField(default=DEFAULT_SLOT_MINUTES)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.weekday} {self.start}–{self.end}"


class ScheduleException(EmbeddedModel):
    """An exception on one day: closed, for the whole day or from start to end, or an extra clinic."""

    date = models.DateField()
    start = models.CharField(max_length=5, null=True, blank=True)
    end = models.CharField(max_length=5, null=True, blank=True)
    closed = models.BooleanField(default=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.date)


def specialty_key(specialty: str) -> str:
    """Return the form of a specialty for comparisons: the same for "Cardiology" and "cardiology".

    The result is cut to the length of its column, because case folding may lengthen a text ("ß" becomes "ss").
    """
    return " ".join(specialty.casefold().split())[:MAX_SPECIALTY_LENGTH]


class Doctor(models.Model):
    doctor_id = models.CharField(_("doctor id"), primary_key=True, db_column="_id", max_length=64)
    name = models.CharField(_("name"), max_length=200)
    specialty = models.CharField(_("specialty"), max_length=MAX_SPECIALTY_LENGTH)
    specialty_key = models.CharField(max_length=MAX_SPECIALTY_LENGTH, editable=False)
    availability = EmbeddedModelArrayField(WeeklyHours, verbose_name=_("weekly hours"), default=list, blank=True)
    exceptions = EmbeddedModelArrayField(ScheduleException, verbose_name=_("exceptions"), default=list, blank=True)
    accepting_patients = models.BooleanField(_("accepting patients"), default=True)
    time_zone = models.CharField(_("time zone"), max_length=64, default="UTC")
    user_id = models.BigIntegerField(
        _("account"),
        null=True,
        blank=True,
        help_text=_("The number of the account that belongs to this doctor."),
    )
    created_at = models.DateTimeField(_("created"), default=clock.now, editable=False)

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "doctors"
        verbose_name = _("doctor")
        verbose_name_plural = _("doctors")
        indexes = [
            models.Index(fields=["name", "doctor_id"], name="doctor_name"),
            models.Index(fields=["specialty_key", "name", "doctor_id"], name="doctor_specialty"),
            models.Index(fields=["accepting_patients", "name", "doctor_id"], name="doctor_accepting"),
            models.Index(
                fields=["specialty_key", "accepting_patients", "name", "doctor_id"], name="doctor_specialty_accepting"
            ),
            TextIndex(fields=["name"], name="doctor_name_text"),
        ]
        constraints = [
            # The planner can use the index for an equality because the condition is a bound (see patients/models.py).
            models.UniqueConstraint(fields=["user_id"], condition=Q(user_id__gt=0), name="doctor_user"),
        ]

    def __str__(self) -> str:
        return str(self.doctor_id)
