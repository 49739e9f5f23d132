"""The shape of the house: which way imports point, what every room has, and that migrations are complete."""

import ast
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

ROOT = Path(settings.BASE_DIR)
#: Each room may import those before it; the ones that share a line may not import one another.
LAYERS: list[set[str]] = [
    {"healthcare"},
    {"accounts"},
    {"patients", "doctors"},
    {"appointments"},
    {"prescriptions"},
    {"billing"},
    {"audit"},
    {"reports"},
]
ROOMS = [room for layer in LAYERS[1:] for room in sorted(layer)]
#: Every room reads the same way (design, section 1). Reports write nothing of people's and are still to come.
FILES = ("apps", "models", "services", "queries", "permissions", "serializers", "views", "urls")
ROOMS_WITH_DATA = ["accounts", "patients", "doctors", "appointments", "prescriptions", "billing"]

#: What ties the rooms together may know them all.
MAY_IMPORT_ROOMS = ("healthcare/urls.py",)


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "migrations" not in path.parts]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """The top-level packages that a module imports, anywhere in it, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} is a relative import"
            yield node.lineno, (node.module or "").split(".")[0]


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """The calls in a module with the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


PROJECT = modules("healthcare", *ROOMS)


def test_there_is_something_to_look_at():
    names = {name_of(path) for path in PROJECT}
    assert {"healthcare/api/views.py", "patients/services.py", "billing/models.py"} <= names


@pytest.mark.parametrize("path", PROJECT, ids=name_of)
def test_imports_point_one_way(path: Path):
    if name_of(path).startswith(MAY_IMPORT_ROOMS):
        return
    own = path.relative_to(ROOT).parts[0]
    at = next(index for index, layer in enumerate(LAYERS) if own in layer)
    forbidden = {room for index, layer in enumerate(LAYERS) for room in layer if index >= at} - {own}
    wrong = [f"{name_of(path)}:{line} imports {package}" for line, package in imported(path) if package in forbidden]
    assert wrong == []


def test_nobody_imports_the_tests():
    assert [name_of(path) for path in PROJECT for _, package in imported(path) if package == "tests"] == []


@pytest.mark.parametrize("room", ROOMS_WITH_DATA)
@pytest.mark.parametrize("file", FILES)
def test_every_room_has_its_files(room: str, file: str):
    assert (ROOT / room / f"{file}.py").is_file()


def test_mongodb_has_one_door():
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in PROJECT
        for node, called in calls(path)
        if called.split(".")[-1] == "MongoClient" and not name_of(path).startswith(("healthcare/mongodb/", "devstack/"))
    ]
    assert wrong == []


def test_every_transaction_names_its_database():
    """`atomic()` without a name is one of PostgreSQL, whatever stands inside (design, section 3.4)."""
    found = [
        (f"{name_of(path)}:{node.lineno}", node)
        for path in PROJECT
        for node, called in calls(path)
        if called.split(".")[-1] == "atomic" and not name_of(path).startswith("healthcare/mongodb/")
    ]
    assert found
    unnamed = [at for at, node in found if not node.args and "using" not in {word.arg for word in node.keywords}]
    assert unnamed == []
    # The bare decorator is no call.
    bare = [
        f"{name_of(path)}:{node.lineno}"
        for path in PROJECT
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for decorator in node.decorator_list
        if ast.unparse(decorator).split(".")[-1] == "atomic"
    ]
    assert bare == []


def test_views_neither_read_nor_write_models():
    """A view parses, makes one call, serialises: queries and services touch the models."""
    wrong = [
        f"{name_of(path)}:{node.lineno} {ast.unparse(node)}"
        for room in ROOMS
        for path in modules(room)
        if path.name in ("views.py", "serializers.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("objects", "save", "delete")
    ]
    assert wrong == []


# --- Migrations ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(databases=["default", "clinical"])
def test_models_have_their_migrations():
    out = StringIO()
    call_command("makemigrations", check=True, dry_run=True, stdout=out, verbosity=1)
    assert "No changes detected" in out.getvalue()


def clinical_schema() -> dict[str, object]:
    database = connections["clinical"].database
    return {
        name: [database[name].index_information(), database[name].options()]
        for name in sorted(database.list_collection_names())
        if not name.startswith("system.")
    }


def sql_schema() -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT schemaname, tablename, indexname, indexdef FROM pg_indexes ORDER BY 1, 2, 3")
        indexes = cursor.fetchall()
        cursor.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, ordinal_position"
        )
        return [*indexes, *cursor.fetchall()]


@pytest.mark.django_db(databases=["default", "clinical"])
@pytest.mark.parametrize("database", ["default", "clinical"])
def test_migrating_again_changes_nothing(database: str):
    before = (clinical_schema(), sql_schema())
    assert before[0]
    assert before[1]
    out = StringIO()
    call_command("migrate", database=database, stdout=out, verbosity=1)
    assert "No migrations to apply." in out.getvalue()
    assert (clinical_schema(), sql_schema()) == before


@pytest.mark.django_db
def test_each_collection_has_the_indexes_of_its_model():
    schema = clinical_schema()
    for name in ("patients", "doctors", "appointments", "prescriptions"):
        assert name in schema
    tables = set(connection.introspection.table_names())
    assert {"accounts_user", "billing", "django_session"} <= tables
    # Each in its own database, and nowhere else.
    assert not tables & {"patients", "doctors", "appointments", "prescriptions"}
    assert not set(schema) & {"billing", "accounts_user", "django_session", "auth_group"}


@pytest.mark.django_db
def test_system_checks_are_clean():
    call_command("check", databases=["default", "clinical"], fail_level="WARNING")
