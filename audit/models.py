"""The seals of the audit log. They are in MongoDB, so that rewriting PostgreSQL does not change them."""

from typing import ClassVar

from django.db import models
from django_mongodb_backend.managers import MongoManager


class Seal(models.Model):
    """One link of the hash chain: the hashes of some entries of the audit log, or the fact that a month was archived.

    The seals are in the collection `audit_seals`, and `_id` counts from 1. `audit.seals` defines the hashes.
    """

    class Kind(models.TextChoices):
        ENTRIES = "entries"
        ARCHIVE = "archive"

    number = models.BigIntegerField(primary_key=True, db_column="_id")
    kind = models.CharField(max_length=8, choices=Kind)
    sealed_at = models.DateTimeField()
    #: The seal covers the entries with `after` < id <= `upto`; ids are in the order of arrival.
    after = models.BigIntegerField()
    upto = models.BigIntegerField()
    count = models.PositiveIntegerField()
    #: One `seals.LEAF` for each entry, ordered by id.
    leaves = models.BinaryField()
    #: The archived month and the SHA-256 of its file; null in a seal of entries.
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
