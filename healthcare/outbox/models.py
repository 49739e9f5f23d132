"""Model of the outbox, in MongoDB beside the documents whose changes its events describe."""

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_mongodb_backend.fields import ArrayField, ObjectIdAutoField
from django_mongodb_backend.managers import MongoManager


class Event(models.Model):
    """Something that happened to a clinical record; see `healthcare.outbox.events`.

    The documents also hold `before` and `after`, the record's images, and `audit`, the facts of the entry in the audit
    trail, which only consumers read.
    """

    database = "clinical"

    id = ObjectIdAutoField(primary_key=True)
    kind = models.CharField(_("what happened"), max_length=64)
    at = models.DateTimeField(_("at"))
    #: Empty when the event is about no patient.
    patient_id = models.CharField(_("patient"), max_length=64)
    subject_id = models.CharField(_("record"), max_length=64)
    #: The consumers that have not heard of it yet; absent once all have.
    pending = ArrayField(models.CharField(max_length=32), verbose_name=_("waiting"), default=list)
    #: When the relay should try (again); absent when there is nothing to do, or nothing without a person.
    due_at = models.DateTimeField(_("due"), null=True)
    attempts = models.PositiveIntegerField(_("tries"), default=0)
    reason = models.CharField(_("reason"), max_length=300, null=True)
    set_aside_at = models.DateTimeField(_("set aside"), null=True)

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "events"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ("view", "change")
        # Only events with something to do carry these fields, so the indexes stay small beside a large log.
        indexes = [
            models.Index(fields=["due_at", "id"], name="event_due", condition=models.Q(due_at__gt="1970-01-01T00:00Z")),
            models.Index(
                fields=["set_aside_at", "id"],
                name="event_set_aside",
                condition=models.Q(set_aside_at__gt="1970-01-01T00:00Z"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"
