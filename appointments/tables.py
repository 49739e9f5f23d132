"""Appointments as the rows of a file."""

from healthcare.staff_admin.import_export import ResourceTable
from healthcare.staff_admin.import_export_widgets import Cell, Clock, Day, Moment, Number


class AppointmentTable(ResourceTable):
    key = "appointment_id"
    columns = {
        "appointment_id": Cell(),
        "patient_id": Cell(),
        "doctor_id": Cell(),
        "date": Day(),
        "time": Clock(),
        "duration_minutes": Number(),
        "status": Cell(),
        "disease": Cell(),
    }
    computed = {"starts_at": Moment(), "created_at": Moment()}
