from pathlib import Path

from django.db import migrations, models

import healthcare.postgresql.fields

SQL = Path(__file__).resolve().parent.parent / "sql"
DATABASE = {"database": "default"}


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        text = (SQL / "audit_log.sql").read_text(encoding="utf-8")
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(text)
    else:
        text = (SQL / "audit_log_sqlite.sql").read_text(encoding="utf-8")
        for statement in schema_editor.connection.ops.prepare_sql_script(text):
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    """Create the tables of the audit log by SQL, because of partitions and triggers, and describe them to Django.

    There is no reverse migration, because it would delete the audit log.
    """  # noqa: S608

    dependencies = [("healthcare", "0001_initial")]

    operations = [
        migrations.RunPython(create, hints=DATABASE),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField(verbose_name="time")),
                ("actor_id", models.BigIntegerField(null=True, verbose_name="account")),
                ("role", models.TextField(verbose_name="role")),
                ("action", models.TextField(verbose_name="action")),
                ("patient_ids", healthcare.postgresql.fields.IdListField(verbose_name="patients")),
                ("subject", models.TextField(null=True, verbose_name="record")),
                ("outcome", models.TextField(verbose_name="outcome")),
                ("reason", models.TextField(null=True, verbose_name="reason")),
                ("channel", models.TextField(verbose_name="through")),
                ("address", models.TextField(null=True, verbose_name="address")),
                ("request_id", models.TextField(null=True, verbose_name="request")),
                ("source", models.TextField(null=True)),
            ],
            options={
                "verbose_name": "entry of the audit trail",
                "verbose_name_plural": "audit trail",
                "db_table": "audit_entries",
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="AuditPatient",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=models.DO_NOTHING,
                        primary_key=True,
                        related_name="patient_rows",
                        serialize=False,
                        to="healthcare.auditentry",
                    ),
                ),
                ("patient_id", models.TextField()),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "audit_patients",
                "abstract": False,
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
