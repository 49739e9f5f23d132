"""Appointments as the rows of a file."""

from healthcare.cells import Cell, Clock, Day, Moment, Number
from healthcare.transfer import RoomTable


class AppointmentTable(RoomTable):
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
