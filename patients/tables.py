"""Columns of the import and export of patients. Appointments and prescriptions of the chart have files of their own."""

from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import (
    DateWidget,
    IntegerWidget,
    LinesWidget,
    TextWidget,
    TimestampWidget,
)


class PatientTable(ResourceTable):
    key = "patient_id"
    columns = {
        "patient_id": TextWidget(),
        "name": TextWidget(),
        "birth_date": DateWidget(),
        "sex": TextWidget(),
        "diseases": LinesWidget(),
        "phone": TextWidget(),
        "email": TextWidget(),
        "address": TextWidget(),
        "national_id": TextWidget(),
        "notes": TextWidget(),
        "user_id": IntegerWidget(),
    }
    export_only = {"created_at": TimestampWidget()}
