"""Bills as the rows of a file."""

from typing import Any

from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import Cell, Moment, Money, Number


class BillTable(ResourceTable):
    key = "id"
    takes_ids = False
    columns = {
        "id": Number(),
        "patient_id": Cell(),
        "appointment_id": Cell(),
        "disease": Cell(),
        "total_cost": Money(),
        "status": Cell(),
    }
    computed = {"created_at": Moment()}

    def stored_key(self, key: Any) -> int | None:
        return key if isinstance(key, int) and 0 < key < 2**63 else None
