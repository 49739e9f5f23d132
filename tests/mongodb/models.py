"""Models of these tests only, in a separate registry, so that migrations and other tests never see them.

Their app_label is that of a clinical app, so that the router stores them in MongoDB.
"""

from typing import ClassVar

from django.apps.registry import Apps
from django.db import models
from django_mongodb_backend.fields import EmbeddedModelField
from django_mongodb_backend.models import EmbeddedModel

from healthcare.mongodb.indexes import TextIndex

registry = Apps()


class Ward(EmbeddedModel):
    """An embedded model whose unique code and constraint hold across all visits that embed one."""

    code = models.CharField(max_length=10, unique=True)
    floor = models.IntegerField()
    side = models.CharField(max_length=10)

    class Meta:
        apps = registry
        app_label = "patients"
        constraints = [models.UniqueConstraint(fields=["floor", "side"], name="ward_floor_side")]


class Visit(models.Model):
    visit_id = models.CharField(primary_key=True, max_length=64, db_column="_id")
    doctor_id = models.CharField(max_length=64)
    date = models.DateField()
    seen_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=100, default="")
    number = models.CharField(max_length=20, unique=True)
    user_id = models.BigIntegerField(null=True, unique=True)
    external_id = models.CharField(max_length=20, null=True, unique=True)
    opened_on = models.DateField(null=True, unique=True)
    fee = models.DecimalField(max_digits=9, decimal_places=2, null=True, unique=True)
    cost = models.DecimalField(max_digits=9, decimal_places=2, null=True)
    ward = EmbeddedModelField(Ward, null=True)

    objects: ClassVar[models.Manager["Visit"]] = models.Manager()

    class Meta:
        apps = registry
        app_label = "patients"
        db_table = "visits"
        indexes = [
            models.Index(fields=["doctor_id", "-date", "visit_id"], name="visits_doctor_date_id"),
            TextIndex(fields=["note"], name="visits_note_text"),
        ]

    def __str__(self) -> str:
        return self.visit_id


class Tally(models.Model):
    name = models.CharField(primary_key=True, max_length=64, db_column="_id")
    total = models.IntegerField(default=0)

    objects: ClassVar[models.Manager["Tally"]] = models.Manager()

    class Meta:
        apps = registry
        app_label = "patients"
        db_table = "tallies"

    def __str__(self) -> str:
        return self.name
