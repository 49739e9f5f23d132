from django.db import migrations, models

REJECT_CHANGE = """
CREATE OR REPLACE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Entries of the audit log are never changed or deleted.' USING ERRCODE = 'insufficient_privilege';
END $$
"""


def reword(apps, schema_editor):
    """Say "audit log" in the message of the triggers, in databases that exist already as well as in new ones."""
    if schema_editor.connection.vendor == "postgresql":
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(REJECT_CHANGE)


class Migration(migrations.Migration):
    """Rename Event.set_aside_at to dead_lettered_at in Django only; the stored field and its index stay as they are."""

    dependencies = [("healthcare", "0004_audit_heads")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveIndex("event", "event_set_aside"),
                migrations.RenameField("event", "set_aside_at", "dead_lettered_at"),
                migrations.AlterField(
                    "event",
                    "dead_lettered_at",
                    models.DateTimeField(db_column="set_aside_at", null=True, verbose_name="dead letter since"),
                ),
                migrations.AddIndex(
                    "event",
                    models.Index(
                        fields=["dead_lettered_at", "id"],
                        name="event_set_aside",
                        condition=models.Q(dead_lettered_at__gt="1970-01-01T00:00Z"),
                    ),
                ),
            ],
        ),
        migrations.AlterModelOptions(
            "auditentry",
            {
                "managed": False,
                "verbose_name": "audit log entry",
                "verbose_name_plural": "audit log",
                "default_permissions": ("view",),
            },
        ),
        migrations.RunPython(reword, migrations.RunPython.noop, hints={"database": "default"}),
    ]
