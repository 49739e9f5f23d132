"""The template of people that tests restore stores what the services store."""

from dataclasses import fields
from typing import Any

import pytest

from accounts.models import User
from healthcare.audit_log.models import AuditEntry, AuditPatient
from tests.databases import clinical_database, empty_collections
from tests.people import People
from tests.people_template import PeopleTemplate

pytestmark = pytest.mark.django_db


def stored(people: People, entries_after: int) -> dict[str, Any]:
    """Return the stored rows and documents and the attributes of the people, with names instead of generated ids."""
    database = clinical_database()
    persons = {field.name: getattr(people, field.name) for field in fields(people)}
    accounts = {person.pk: name for name, person in persons.items() if isinstance(person, User)}
    entries = {row["id"]: row for row in AuditEntry.objects.filter(id__gt=entries_after).order_by("id").values()}
    event_ids = [event["_id"] for event in database["events"].find().sort("_id", 1)]
    names: dict[Any, str] = {str(key): name for key, name in accounts.items()}
    names |= {str(key): f"event {number}" for number, key in enumerate(event_ids)}

    def comparable(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: comparable(key, each) for key, each in value.items()}
        if isinstance(value, list):
            return [comparable(name, each) for each in value]
        if name in ("at", "created_at"):
            return "now"
        if name == "entry_id":
            return [*entries].index(value)
        if name in ("password", "token_version"):
            return "left out"
        is_id = name in ("id", "_id", "pk", "user_id", "actor_id", "subject", "source")
        return names.get(str(value), value) if is_id else value

    found = {
        "accounts": list(User.objects.filter(pk__in=accounts).order_by("pk").values()),
        "entries": [{**row, "id": f"entry {number}"} for number, row in enumerate(entries.values())],
        "patients of entries": list(AuditPatient.objects.filter(entry_id__in=entries).order_by("entry_id").values()),
        "objects": [
            {key: value for key, value in vars(person).items() if not key.startswith("_")}
            for person in persons.values()
        ],
        **{
            name: list(database[name].find().sort("_id", 1))
            for name in database.list_collection_names()
            if name != "django_migrations"
        },
    }
    return {name: comparable(name, value) for name, value in found.items()}


def last_entry() -> int:
    return AuditEntry.objects.order_by("-id").values_list("id", flat=True).first() or 0


def test_template_stores_what_the_services_store(people_template: PeopleTemplate) -> None:
    before = last_entry()
    by_services = stored(People.make(), before)
    assert len(by_services["accounts"]) == 6
    assert [len(by_services[name]) for name in ("patients", "doctors", "events")] == [2, 2, 4]
    assert len(by_services["entries"]) == 10
    assert len(by_services["patients of entries"]) == 2
    User.objects.all().delete()
    empty_collections()
    before = last_entry()
    assert stored(people_template.restore(), before) == by_services


def test_restored_people_are_new_accounts(people_template: PeopleTemplate, people: People) -> None:
    """Their ids and events are never those of an earlier test, whose audit entries may still be stored."""
    event_ids = [event["_id"] for event in clinical_database()["events"].find()]
    User.objects.all().delete()
    empty_collections()
    again = people_template.restore()
    assert again.patient.pk > people.other_doctor.pk
    assert again.patient_record.user_id == again.patient.pk
    assert not clinical_database()["events"].count_documents({"_id": {"$in": event_ids}})
