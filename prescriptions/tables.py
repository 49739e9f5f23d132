"""Prescriptions as the rows of a file."""

from typing import Any

from bson import ObjectId

from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import Cell, Day, Moment, Money, Number


class PrescriptionTable(ResourceTable):
    key = "id"
    takes_ids = False
    columns = {
        "id": Cell(),
        "patient_id": Cell(),
        "doctor_id": Cell(),
        "appointment_id": Cell(),
        "drug": Cell(),
        "dosage": Cell(),
        "frequency": Cell(),
        "cost": Money(),
        "disease": Cell(),
        "start_date": Day(),
        "duration_days": Number(),
        "instructions": Cell(),
    }
    computed = {"created_at": Moment()}

    def stored_key(self, key: Any) -> ObjectId | None:
        return ObjectId(key) if ObjectId.is_valid(key) else None
