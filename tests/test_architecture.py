"""The architecture (docs/architecture.md): which packages may import which, and what every app consists of."""

import ast
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connection

from tests.databases import clinical_database

ROOT = Path(settings.BASE_DIR)
#: A package may import those of earlier lines only; packages of one line may not import one another.
LAYERS: list[set[str]] = [
    {"devstack"},
    {
        "healthcare.settings",
        "healthcare.routers",
        "healthcare.clock",
        "healthcare.ids",
        "healthcare.client_address",
        "healthcare.encrypted_tokens",
    },
    {"healthcare.mongodb", "healthcare.postgresql", "healthcare.csv_export"},
    {"healthcare.errors"},
    {"healthcare.protected_references", "healthcare.audit_context"},
    {"healthcare.outbox"},
    {"healthcare.audit_log"},
    {"healthcare.api"},
    {"healthcare.observability"},
    {"healthcare.web"},
    {"healthcare.staff_admin"},
    # Django and the web server look for these modules by name; they put the packages together.
    {"healthcare.models", "healthcare.apps", "healthcare.wsgi"},
    {"accounts"},
    {"patients", "doctors"},
    {"appointments"},
    {"prescriptions"},
    {"billing"},
    {"audit"},
    {"reports"},
    {"healthcare.urls"},
    {"datasets"},
    {"operations"},
    {"benchmarks"},
]
APPS = ["accounts", "patients", "doctors", "appointments", "prescriptions", "billing", "audit", "reports"]
PACKAGES = ["healthcare", *APPS, "devstack", "datasets", "operations", "benchmarks"]
#: Every app has the same modules. `audit` and `reports` write no records of people, and have no services for it.
FILES = ("apps", "models", "services", "queries", "permissions", "serializers", "views", "urls")
APPS_WITH_DATA = ["accounts", "patients", "doctors", "appointments", "prescriptions", "billing"]


def modules(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "migrations" not in path.parts]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def package_of(module: str) -> str:
    """Return the unit of `LAYERS` that a dotted module name belongs to: "healthcare.api.views" is "healthcare.api"."""
    first, _, rest = module.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "healthcare" and rest else first


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the dotted names that a module imports, anywhere in it, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} is a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Yield the calls in a module with the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


PROJECT = modules(*PACKAGES)


def test_there_is_something_to_look_at():
    names = {name_of(path) for path in PROJECT}
    assert {"healthcare/api/views.py", "patients/services.py", "billing/models.py", "operations/admin.py"} <= names
    installed = {config.name for config in apps.get_app_configs() if Path(config.path).parent == ROOT}
    assert installed == set(PACKAGES) - {"devstack"}


def layer_of(package: str) -> int:
    found = [index for index, layer in enumerate(LAYERS) if package in layer]
    assert len(found) == 1, f"{package} has no place in LAYERS, or two"
    return found[0]


@pytest.mark.parametrize("path", PROJECT, ids=name_of)
def test_imports_point_one_way(path: Path):
    own = package_of(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    if own == "healthcare":
        assert list(imported(path)) == [], "healthcare/__init__.py imports nothing"
        return
    wrong = [
        f"{name_of(path)}:{line} imports {module}"
        for line, module in imported(path)
        if module.partition(".")[0] in PACKAGES
        and package_of(module) != own
        and layer_of(package_of(module)) >= layer_of(own)
    ]
    assert wrong == []


def test_nobody_imports_the_tests():
    wrong = [name_of(path) for path in PROJECT for _, name in imported(path) if name.partition(".")[0] == "tests"]
    assert wrong == []


@pytest.mark.parametrize("app", APPS_WITH_DATA)
@pytest.mark.parametrize("file", FILES)
def test_every_app_has_its_files(app: str, file: str):
    assert (ROOT / app / f"{file}.py").is_file()


def test_only_the_engine_connects_to_mongodb():
    wrong = [
        f"{name_of(path)}:{node.lineno}"
        for path in PROJECT
        for node, called in calls(path)
        if called.split(".")[-1] == "MongoClient"
        and not name_of(path).startswith(("healthcare/mongodb/", "devstack/", "benchmarks/"))
    ]
    assert wrong == []


def test_every_transaction_names_its_database():
    """`atomic()` without a database name opens a transaction in PostgreSQL only, whatever the block writes."""
    found = [
        (f"{name_of(path)}:{node.lineno}", node)
        for path in PROJECT
        for node, called in calls(path)
        if called.split(".")[-1] == "atomic" and not name_of(path).startswith("healthcare/mongodb/")
    ]
    assert found
    unnamed = [at for at, node in found if not node.args and "using" not in {word.arg for word in node.keywords}]
    assert unnamed == []
    # A decorator without parentheses is no call.
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
    """A view parses the request, makes one call and serialises the result: queries and services use the models."""
    wrong = [
        f"{name_of(path)}:{node.lineno} {ast.unparse(node)}"
        for app in APPS
        for path in modules(app)
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
    database = clinical_database()
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
    # Each model has its table or collection in one database only.
    assert not tables & {"patients", "doctors", "appointments", "prescriptions"}
    assert not set(schema) & {"billing", "accounts_user", "django_session", "auth_group"}


@pytest.mark.django_db
def test_system_checks_are_clean():
    call_command("check", databases=["default", "clinical"], fail_level="WARNING")
