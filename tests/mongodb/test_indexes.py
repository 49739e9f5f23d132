"""Indexes, as migrations create and drop them."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, migrations, models
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter

from healthcare.mongodb import raw
from healthcare.mongodb.explain import explain
from healthcare.mongodb.indexes import TextIndex
from tests.databases import clinical_database
from tests.mongodb.models import Visit

TEXT = TextIndex(fields=["name", "notes"], name="persons_text")
LIST_ORDER = models.Index(fields=["name", "-born", "person_id"], name="persons_list")
FIELDS: list[tuple[str, "models.Field[Any, Any]"]] = [
    ("person_id", models.CharField(primary_key=True, max_length=64, db_column="_id")),
    ("name", models.CharField(max_length=64)),
    ("notes", models.CharField(max_length=64, db_column="remarks")),
    ("born", models.DateField(null=True)),
]


def changes_between(before: ProjectState, after: ProjectState) -> dict[str, Any]:
    detector: Any = MigrationAutodetector(before, after)
    return dict(detector._detect_changes())


def state_with(*indexes: models.Index) -> ProjectState:
    state = ProjectState()
    state.add_model(ModelState("patients", "Person", FIELDS, {"indexes": list(indexes), "db_table": "persons"}))
    return state


@pytest.fixture
def persons() -> Iterator[ProjectState]:
    state = state_with()
    model = state.apps.get_model("patients", "Person")
    with connections["clinical"].schema_editor() as editor:
        editor.create_model(model)
    yield state
    clinical_database().persons.drop()


def migrate(operation: migrations.operations.base.Operation, state: ProjectState, *, forwards: bool) -> ProjectState:
    new = state.clone()
    operation.state_forwards("patients", new)
    with connections["clinical"].schema_editor() as editor:
        if forwards:
            operation.database_forwards("patients", editor, state, new)
        else:
            operation.database_backwards("patients", editor, new, state)
    return new


def index_names() -> set[str]:
    return set(clinical_database().persons.index_information())


@pytest.mark.parametrize("index", [TEXT, LIST_ORDER], ids=["text", "list order"])
def test_index_migrates_up_and_down(persons: ProjectState, index: models.Index) -> None:
    operation = migrations.AddIndex("person", index.clone())
    migrate(operation, persons, forwards=True)
    assert index_names() == {"_id_", index.name}
    migrate(operation, persons, forwards=False)
    assert index_names() == {"_id_"}


def test_text_index_is_removed_by_its_migration_and_comes_back(persons: ProjectState) -> None:
    with_index = migrate(migrations.AddIndex("person", TEXT.clone()), persons, forwards=True)
    removal = migrations.RemoveIndex("person", TEXT.name)
    migrate(removal, with_index, forwards=True)
    assert index_names() == {"_id_"}
    migrate(removal, with_index, forwards=False)
    assert index_names() == {"_id_", TEXT.name}


def test_other_indexes_change_beside_a_text_index(persons: ProjectState) -> None:
    """The schema editor searches the collection's indexes for the one of a field."""
    state = migrate(migrations.AddIndex("person", TEXT.clone()), persons, forwards=True)
    indexed = models.CharField(max_length=64, db_index=True)
    state = migrate(migrations.AlterField("person", "name", indexed), state, forwards=True)
    assert len(index_names()) == 3
    state = migrate(migrations.AlterField("person", "name", FIELDS[1][1]), state, forwards=True)
    assert index_names() == {"_id_", TEXT.name}
    migrate(migrations.RemoveField("person", "born"), state, forwards=True)


def test_index_uses_the_columns_and_no_language(persons: ProjectState) -> None:
    migrate(migrations.AddIndex("person", TEXT.clone()), persons, forwards=True)
    index = clinical_database().persons.index_information()[TEXT.name]
    assert dict(index["weights"]) == {"name": 1, "remarks": 1}
    assert index["default_language"] == "none"


def test_makemigrations_sees_no_change_and_writes_what_it_reads() -> None:
    same = TextIndex(fields=("name", "notes"), name="persons_text")
    changes = changes_between(state_with(TEXT), state_with(same))
    assert changes == {}
    other = TextIndex(fields=["name", "notes"], name="persons_text", default_language="english")
    assert changes_between(state_with(TEXT), state_with(other)) != {}

    text, imports = MigrationWriter.serialize(other)
    namespace: dict[str, object] = {}
    exec("\n".join(imports), namespace)  # noqa: S102 - what the migration file would run
    assert eval(text, namespace) == other  # noqa: S307


def visit(number: int, note: str, **fields: str) -> dict[str, str]:
    return {"_id": f"V{number}", "number": f"{number}", "note": note, **fields}


def test_text_search_finds_whole_words_in_any_case() -> None:
    visits = raw.collection(Visit)
    visits.insert_many([visit(1, "Ana Rivera"), visit(2, "The Who"), visit(3, "Zoë Rivera-Ortiz")])
    pipeline: raw.Pipeline = [{"$match": {"$text": {"$search": "RIVERA"}}}, {"$sort": {"_id": 1}}]
    assert [each["_id"] for each in raw.aggregate(Visit, pipeline)] == ["V1", "V3"]
    assert "TEXT_MATCH" in explain(Visit, pipeline).stages
    # "the" is a stop word of English and may be a name.
    assert len(raw.aggregate(Visit, [{"$match": {"$text": {"$search": "the"}}}])) == 1


def test_language_field_of_a_document_does_not_choose_a_stemmer() -> None:
    """With MongoDB's default the insert fails: "language override unsupported: de-CH"."""
    raw.collection(Visit).insert_one(visit(1, "Ana Rivera", language="de-CH"))
    assert raw.collection(Visit).count({"$text": {"$search": "rivera"}}) == 1


def test_index_that_ends_with_the_primary_key_serves_the_list(persons: ProjectState) -> None:
    state = migrate(migrations.AddIndex("person", LIST_ORDER.clone()), persons, forwards=True)
    keys = clinical_database().persons.index_information()[LIST_ORDER.name]["key"]
    assert keys == [("name", 1), ("born", -1), ("_id", 1)]
    person = state.apps.get_model("patients", "Person")
    person.objects.using("clinical").bulk_create(
        person(person_id=f"P{number}", name="Ana", notes="", born=None) for number in range(30)
    )
    page = person.objects.using("clinical").filter(name="Ana").order_by("-born", "person_id")[:5]
    plan = explain(page)
    assert (plan.indexes, plan.sorts_in_memory, plan.documents_examined) == (("persons_list",), False, 5)
    assert person.check(databases=["clinical"]) == []
