"""Columns of the import and export of bills."""

from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import IntegerWidget, MoneyWidget, TextWidget, TimestampWidget


class BillTable(ResourceTable):
    key = "id"
    accepts_ids = False
    columns = {
        "id": IntegerWidget(),
        "patient_id": TextWidget(),
        "appointment_id": TextWidget(),
        "disease": TextWidget(),
        "total_cost": MoneyWidget(),
        "status": TextWidget(),
    }
    export_only = {"created_at": TimestampWidget()}

    def primary_key(self, key: object) -> int | None:
        return key if isinstance(key, int) and 0 < key < 2**63 else None
