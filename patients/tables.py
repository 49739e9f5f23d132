"""Patients as the rows of a file; the chart has tables of its own."""

from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import Cell, Day, Lines, Moment, Number


class PatientTable(ResourceTable):
    key = "patient_id"
    columns = {
        "patient_id": Cell(),
        "name": Cell(),
        "birth_date": Day(),
        "sex": Cell(),
        "diseases": Lines(),
        "phone": Cell(),
        "email": Cell(),
        "address": Cell(),
        "national_id": Cell(),
        "notes": Cell(),
        "user_id": Number(),
    }
    computed = {"created_at": Moment()}
