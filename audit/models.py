"""The seals of the audit trail, in MongoDB: out of reach of whoever can rewrite PostgreSQL."""

from typing import ClassVar

from django.db import models
from django_mongodb_backend.managers import MongoManager


class Seal(models.Model):
    """One link of the chain: what some entries of the trail looked like, or that a month was archived.

    Collection `audit_seals`; `_id` counts from 1. See `audit.seals` for what the hashes cover.
    """

    class Kind(models.TextChoices):
        ENTRIES = "entries"
        ARCHIVE = "archive"

    number = models.BigIntegerField(primary_key=True, db_column="_id")
    kind = models.CharField(max_length=8, choices=Kind)
    sealed_at = models.DateTimeField()
    #: Entries with `after` < id <= `upto`, by arrival.
    after = models.BigIntegerField()
    upto = models.BigIntegerField()
    count = models.PositiveIntegerField()
    #: One `seals.LEAF` for each entry, by id.
    leaves = models.BinaryField()
    #: The archived month and the SHA-256 of its file; null for entries.
    month = models.CharField(max_length=7, null=True)
    file_hash = models.CharField(max_length=64, null=True)
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects: ClassVar[MongoManager] = MongoManager()

    class Meta:
        db_table = "audit_seals"
        default_permissions = ()

    def __str__(self) -> str:
        return f"seal {self.number}"
