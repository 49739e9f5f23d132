"""Columns of the import and export of appointments."""

from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import (
    DateWidget,
    IntegerWidget,
    TextWidget,
    TimestampWidget,
    TimeWidget,
)


class AppointmentTable(ResourceTable):
    key = "appointment_id"
    columns = {
        "appointment_id": TextWidget(),
        "patient_id": TextWidget(),
        "doctor_id": TextWidget(),
        "date": DateWidget(),
        "time": TimeWidget(),
        "duration_minutes": IntegerWidget(),
        "status": TextWidget(),
        "disease": TextWidget(),
    }
    export_only = {"starts_at": TimestampWidget(), "created_at": TimestampWidget()}
