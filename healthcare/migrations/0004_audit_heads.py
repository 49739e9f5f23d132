from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parent.parent / "sql"


def create(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        with schema_editor.connection.cursor() as cursor:
            cursor.execute((SQL / "audit_heads.sql").read_text(encoding="utf-8"))
    else:
        text = (SQL / "audit_heads_sqlite.sql").read_text(encoding="utf-8")
        for statement in schema_editor.connection.ops.prepare_sql_script(text):
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    """Create the table of the hashes of seals by SQL. 0002 says why there is no reverse migration."""

    dependencies = [("healthcare", "0003_counters")]

    operations = [
        migrations.RunPython(create, hints={"database": "default"}),
        migrations.CreateModel(
            name="AuditHead",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("hash", models.TextField()),
                ("noted_at", models.DateTimeField()),
            ],
            options={
                "db_table": "audit_heads",
                "abstract": False,
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
