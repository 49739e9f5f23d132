"""Models of the audit log, in PostgreSQL."""

from typing import Any, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _

from healthcare.postgresql.fields import IdListField


class AuditLogIsInsertOnly(TypeError):
    """Somebody tried to write the audit trail past `healthcare.audit_log.recorder`, or to change it."""


class InsertOnlyQuerySet(models.QuerySet[Any]):
    """Rows that the ORM reads. `healthcare.audit_log.recorder` inserts them, nobody changes them; PostgreSQL refuses it as well."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditLogIsInsertOnly("Entries of the audit trail are never changed or deleted.")

    create = get_or_create = update_or_create = bulk_create = bulk_update = update = delete = _refuse
    acreate = aget_or_create = aupdate_or_create = abulk_create = abulk_update = aupdate = adelete = _refuse
    _raw_delete = _update = _insert = _refuse


class InsertOnlyModel(models.Model):
    objects = InsertOnlyQuerySet.as_manager()

    class Meta:
        abstract = True
        managed = False

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AuditLogIsInsertOnly("Entries of the audit trail are never changed or deleted.")

    save_base = delete = save


class AuditEntry(InsertOnlyModel):
    """Who did what with whose data, and whether they were let; see `healthcare.audit_log.recorder`. Never the data itself.

    The table is made by healthcare/sql/audit_trail.sql; `id` counts arrivals, `at` is when it happened.
    """

    id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField(_("time"))
    #: Null for a command, and for somebody without an account.
    actor_id = models.BigIntegerField(_("account"), null=True)
    role = models.TextField(_("role"))
    action = models.TextField(_("action"))
    patient_ids = IdListField(_("patients"))
    subject = models.TextField(_("record"), null=True)
    outcome = models.TextField(_("outcome"))
    #: The code of a refusal.
    reason = models.TextField(_("reason"), null=True)
    channel = models.TextField(_("through"))
    address = models.TextField(_("address"), null=True)
    request_id = models.TextField(_("request"), null=True)
    source = models.TextField(null=True)

    class Meta(InsertOnlyModel.Meta):
        db_table = "audit_entries"
        verbose_name = _("entry of the audit trail")
        verbose_name_plural = _("audit trail")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"entry {self.pk}"


class AuditPatient(InsertOnlyModel):
    """An entry by one of its patients: the way from a patient to their entries, newest first."""

    # An entry has several of these rows: Django wants one column to be the key, and reads only. Joined by the id alone:
    # by `at` as well it would be looked for in one month only, but PostgreSQL takes the two for independent, expects
    # one row in all, and sorts a patient's 200,000 entries for a page of 50 (2.5 s, not 6 ms).
    entry = models.OneToOneField(
        AuditEntry,
        on_delete=models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="patient_rows",
    )
    patient_id = models.TextField()
    at = models.DateTimeField()

    class Meta(InsertOnlyModel.Meta):
        db_table = "audit_patients"
        default_permissions = ()

    def __str__(self) -> str:
        return f"entry {self.entry_id}"


class AuditHead(InsertOnlyModel):
    """The hash of a seal as it was when it was made: what PostgreSQL knows of the chain in MongoDB."""

    number = models.BigIntegerField(primary_key=True)
    hash = models.TextField()
    noted_at = models.DateTimeField()

    class Meta(InsertOnlyModel.Meta):
        db_table = "audit_heads"
        default_permissions = ()

    def __str__(self) -> str:
        return f"head {self.pk}"
