"""Model of the outbox, stored in MongoDB beside the documents whose changes its events describe."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_mongodb_backend.fields import ArrayField, ObjectIdAutoField
from django_mongodb_backend.managers import MongoManager


class Event(models.Model):
    """A change of a clinical record; see `healthcare.outbox.events`.

    The stored documents also hold `before` and `after`, the states of the record, and `audit`, the facts of its entry
    in the audit log. Only consumers read these three.
    """

    database = "clinical"

    id = ObjectIdAutoField(primary_key=True)
    kind = models.CharField(_("what happened"), max_length=64)
    at = models.DateTimeField(_("at"))
    #: Empty if the event concerns no patient.
    patient_id = models.CharField(_("patient"), max_length=64)
    subject_id = models.CharField(_("record"), max_length=64)
    #: The consumers to which the event is not delivered yet; absent once it is delivered to all.
    pending = ArrayField(models.CharField(max_length=32), verbose_name=_("waiting"), default=list)
    #: When the relay tries to deliver the event (again); absent for delivered events and dead letters.
    due_at = models.DateTimeField(_("due"), null=True)
    attempts = models.PositiveIntegerField(_("tries"), default=0)
    reason = models.CharField(_("reason"), max_length=300, null=True)
    #: When the event became a dead letter, which the relay does not try again.
    dead_lettered_at = models.DateTimeField(_("dead letter since"), null=True, db_column="set_aside_at")

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "events"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ("view", "change")
        # Only undelivered events carry these fields, so the indexes stay small beside a large collection.
        indexes = [
            models.Index(fields=["due_at", "id"], name="event_due", condition=models.Q(due_at__gt="1970-01-01T00:00Z")),
            models.Index(
                fields=["dead_lettered_at", "id"],
                name="event_set_aside",
                condition=models.Q(dead_lettered_at__gt="1970-01-01T00:00Z"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"
