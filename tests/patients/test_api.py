import pytest
from tests.people import People

pytestmark = pytest.mark.django_db


def test_smoke(people: People):
    admin = people.client("admin")
    r = admin.get("/api/patients/P1/")
    print(r.status_code, r.json())
    r = admin.post("/api/patients", {"name": "X", "patient_id": "P9", "foo": 1, "age": "x"}, format="json")
    print(r.status_code, r.json())
    for path in ("patients", "doctors", "appointments", "prescriptions", "billing", "accounts", "patients?search=ali&disease=x", "doctors?specialty=cardiology"):
        r = admin.get(f"/api/{path}")
        print(path, r.status_code, str(r.json())[:200])
    r = people.client("patient").post("/api/appointments", {"patient_id": "P1", "doctor_id": "D1", "date": "2027-01-01", "time": "10:00"}, format="json")
    print(r.status_code, r.json())
    r = people.client("doctor").post("/api/prescriptions", {"patient_id": "P1", "drug":"x", "dosage": "5 mg", "frequency": "BID", "cost": 12.5}, format="json")
    print(r.status_code, r.json())
    r = admin.post("/api/billing", {"patient_id": "P1", "total_cost": "12.5"}, format="json")
    print(r.status_code, r.json())
    r = people.client("patient").get("/api/auth/me")
    print(r.status_code, r.json())
    r = admin.get("/api/nothing")
    print(r.status_code, r.json())
    r = admin.put("/api/patients")
    print(r.status_code, r.json())
    for p in ("/schema", "/docs", "/redoc"):
        r = admin.get(p)
        print(p, r.status_code, len(r.content))
