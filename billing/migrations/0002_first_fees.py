"""A fee table to begin with; staff edit it in the admin."""

from decimal import Decimal

from django.db import migrations

FEES = {
    "": "120.00",
    "Cardiology": "240.00",
    "Dermatology": "150.00",
    "Family medicine": "90.00",
    "General practice": "90.00",
    "Neurology": "230.00",
    "Oncology": "280.00",
    "Orthopedics": "200.00",
    "Pediatrics": "110.00",
    "Psychiatry": "180.00",
}


def add_fees(apps, schema_editor):
    Fee = apps.get_model("billing", "Fee")
    for specialty, amount in FEES.items():
        Fee.objects.using(schema_editor.connection.alias).get_or_create(
            specialty_key=specialty.casefold(), defaults={"specialty": specialty, "amount": Decimal(amount)}
        )


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunPython(add_fees, migrations.RunPython.noop)]
