"""Patients as the rows of a file; the chart has tables of its own."""

from healthcare.cells import Cell, Day, Lines, Moment, Number
from healthcare.transfer import RoomTable


class PatientTable(RoomTable):
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
