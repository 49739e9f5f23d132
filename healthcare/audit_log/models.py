"""Models of the audit log, in PostgreSQL."""

from typing import Any, NoReturn

from django.db import models
from django.utils.translation import gettext_lazy as _

from healthcare.postgresql.fields import IdListField


class AuditLogIsInsertOnly(TypeError):
    """The audit log is written by `healthcare.audit_log.recorder` only, and its entries never change."""


class InsertOnlyQuerySet(models.QuerySet[Any]):
    """A queryset that only reads: `healthcare.audit_log.recorder` inserts the rows, and PostgreSQL rejects changes."""

    def _reject(self, *args: object, **kwargs: object) -> NoReturn:
        raise AuditLogIsInsertOnly("Entries of the audit log are never changed or deleted.")

    create = get_or_create = update_or_create = bulk_create = bulk_update = update = delete = _reject
    acreate = aget_or_create = aupdate_or_create = abulk_create = abulk_update = aupdate = adelete = _reject
    _raw_delete = _update = _insert = _reject


class InsertOnlyModel(models.Model):
    """A model whose rows the ORM only reads."""

    objects = InsertOnlyQuerySet.as_manager()

    class Meta:
        abstract = True
        managed = False

    def save(self, *args: object, **kwargs: object) -> NoReturn:
        raise AuditLogIsInsertOnly("Entries of the audit log are never changed or deleted.")

    save_base = delete = save


class AuditEntry(InsertOnlyModel):
    """An entry of the audit log: who did what with whose data, and whether that was allowed, but never the data itself.

    healthcare/sql/audit_log.sql creates the table. `id` counts the insertions, `at` is the time of the action. See
    `healthcare.audit_log.recorder`.
    """

    id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField(_("time"))
    #: Null for a command, and for a person without an account.
    actor_id = models.BigIntegerField(_("account"), null=True)
    role = models.TextField(_("role"))
    action = models.TextField(_("action"))
    patient_ids = IdListField(_("patients"))
    subject = models.TextField(_("record"), null=True)
    outcome = models.TextField(_("outcome"))
    #: Why the action was refused, as a code.
    reason = models.TextField(_("reason"), null=True)
    channel = models.TextField(_("through"))
    address = models.TextField(_("address"), null=True)
    request_id = models.TextField(_("request"), null=True)
    source = models.TextField(null=True)

    class Meta(InsertOnlyModel.Meta):
        db_table = "audit_entries"
        verbose_name = _("audit log entry")
        verbose_name_plural = _("audit log")
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"entry {self.pk}"


class AuditPatient(InsertOnlyModel):
    """One row for each patient of an entry, by which the entries of a patient are found, newest first."""

    # An entry has several of these rows, but Django needs one column as the primary key; the model is only read. The
    # join uses the id alone. With `at` as well PostgreSQL would search one month only, but it takes the two columns for
    # independent, expects one row in all, and sorts a patient's 200,000 entries for a page of 50 (2.5 s, not 6 ms).
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
    """The hash of a seal when it was made, kept in PostgreSQL to check the chain of seals in MongoDB."""

    number = models.BigIntegerField(primary_key=True)
    hash = models.TextField()
    noted_at = models.DateTimeField()

    class Meta(InsertOnlyModel.Meta):
        db_table = "audit_heads"
        default_permissions = ()

    def __str__(self) -> str:
        return f"head {self.pk}"
