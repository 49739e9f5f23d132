"""Columns of the import and export of prescriptions."""

from typing import Any

from bson import ObjectId

from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import (
    DateWidget,
    IntegerWidget,
    MoneyWidget,
    TextWidget,
    TimestampWidget,
)


class PrescriptionTable(ResourceTable):
    key = "id"
    accepts_ids = False
    columns = {
        "id": TextWidget(),
        "patient_id": TextWidget(),
        "doctor_id": TextWidget(),
        "appointment_id": TextWidget(),
        "drug": TextWidget(),
        "dosage": TextWidget(),
        "frequency": TextWidget(),
        "cost": MoneyWidget(),
        "disease": TextWidget(),
        "start_date": DateWidget(),
        "duration_days": IntegerWidget(),
        "instructions": TextWidget(),
    }
    export_only = {"created_at": TimestampWidget()}

    def primary_key(self, key: Any) -> ObjectId | None:
        return ObjectId(key) if ObjectId.is_valid(key) else None
