"""The private names of libraries that the code uses are those of docs/library-internals.md, and all of them exist.

The page is read as data: its tables say which name is used where, why, and which test fails when it changes.
"""

import ast
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.template import engines
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "library-internals.md"
PACKAGES = (
    "accounts", "appointments", "audit", "benchmarks", "billing", "datasets", "devstack", "doctors", "healthcare",
    "operations", "patients", "prescriptions", "reports",
)  # fmt: skip
#: Library → the packages that it is imported as.
IMPORTED_AS = {
    "django": "django",
    "django-mongodb-backend": "django_mongodb_backend",
    "djangorestframework": "rest_framework",
    "djangorestframework-simplejwt": "rest_framework_simplejwt",
    "drf-spectacular": "drf_spectacular",
    "django-unfold": "unfold",
    "django-import-export": "import_export",
    "django-allauth": "allauth",
    "django-ratelimit": "django_ratelimit",
    "django-csp": "csp",
    "django-environ": "environ",
    "pymongo": "pymongo",
    "psycopg": "psycopg",
    "gunicorn": "gunicorn",
    "prometheus-client": "prometheus_client",
    "whitenoise": "whitenoise",
}
#: Names with an underscore that their library documents.
DOCUMENTED = frozenset(
    {"_meta", "_state", "_default_manager", "_db", "_asdict", "_replace", "_fields", "_exit", "_declared_fields"}
)
#: Attributes of libraries' objects that are documented as settable.
DOCUMENTED_ASSIGNMENTS = frozenset({"admin.site.login_form", "admin.site.password_change_form"})


class Row(NamedTuple):
    library: str
    names: tuple[str, ...]
    files: tuple[str, ...]
    tests: tuple[str, ...]


def _tables(header: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the page's tables that have this header."""
    lines = iter(PAGE.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line == header:
            next(lines)
            for row in lines:
                if not row.startswith("|"):
                    break
                yield [cell.strip() for cell in row.strip("|").split("|")]


def _quoted(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`([^`]+)`", cell))


LIBRARIES = {
    _quoted(library)[0]: _quoted(bound)[0] for library, bound, _ in _tables("| library | bound | why this bound |")
}
ROWS = [
    Row(_quoted(library)[0], _quoted(names), _quoted(files), _quoted(tests))
    for library, names, files, _, tests in _tables(
        "| library | name | used in | why | test that fails when it changes |"
    )
]
BEHAVIOUR = [
    Row(_quoted(library)[0], (), _quoted(files), _quoted(tests))
    for library, _, files, tests in _tables("| library | relied on | used in | test that fails when it changes |")
]
#: File → the last parts of the names that the page lists for it.
LISTED: dict[str, set[str]] = {}
for _row in ROWS:
    for _file in _row.files:
        LISTED.setdefault(_file, set()).update(name.rpartition(".")[2] for name in _row.names)


def test_the_page_is_read() -> None:
    assert len(ROWS) > 30
    assert len(BEHAVIOUR) > 5
    assert {row.library for row in [*ROWS, *BEHAVIOUR]} <= set(LIBRARIES)
    assert set(LIBRARIES) == set(IMPORTED_AS)


# --- Bounds ----------------------------------------------------------------------------------------------------------


@cache
def requirements() -> dict[str, Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    parsed = [Requirement(line) for line in project["dependencies"]]
    return {canonicalize_name(requirement.name): requirement for requirement in parsed}


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_has_the_upper_bound_that_the_page_names(library: str) -> None:
    bounds = {str(bound) for bound in requirements()[library].specifier}
    assert LIBRARIES[library] in bounds, f"pyproject.toml: {library} needs {LIBRARIES[library]}"
    assert LIBRARIES[library].startswith(("<", "=="))


@pytest.mark.parametrize("library", LIBRARIES)
def test_pinned_version_is_within_the_bound(library: str) -> None:
    pins = dict(
        re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert requirements()[library].specifier.contains(Version(pins[library]))


# --- What the page lists ---------------------------------------------------------------------------------------------


def resolve(name: str) -> Any:
    """Return the object that a dotted name stands for; for an instance attribute, the class whose methods use it.

    Raises: ModuleNotFoundError, AttributeError.
    """
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if not hasattr(found, part) and inspect.isclass(found) and _is_used_in(found, part):
                return found
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


def _is_used_in(owner: type, name: str) -> bool:
    """Return whether a class, or one that it extends, reads or assigns the attribute of some object."""
    sources = [inspect.getsource(each) for each in owner.__mro__ if each.__module__ not in ("builtins", "typing")]
    return any(re.search(rf"(\w\.|\"){name}\b", source) for source in sources)


@pytest.mark.parametrize("name", sorted({name for row in ROWS for name in row.names}))
def test_listed_name_exists(name: str) -> None:
    resolve(name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.names[0])
def test_listed_name_belongs_to_its_library_and_is_used(row: Row) -> None:
    assert row.names
    assert row.files
    for name in row.names:
        assert name.split(".")[0] == IMPORTED_AS[row.library]
    words = {file: set(re.findall(r"\w+", (ROOT / file).read_text(encoding="utf-8"))) for file in row.files}
    for name in row.names:
        last = name.rpartition(".")[2]
        assert any(last in found for found in words.values()), f"{name} is not used in {', '.join(row.files)}"


@pytest.mark.parametrize("row", [*ROWS, *BEHAVIOUR], ids=lambda row: f"{row.library} {row.files[0]}")
def test_cited_tests_and_files_exist(row: Row) -> None:
    assert row.tests
    for file in row.files:
        assert (ROOT / file).is_file(), file
    for test in row.tests:
        file, _, function = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert not function or f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_listed_templates_exist() -> None:
    text = PAGE.read_text(encoding="utf-8").rpartition("Templates of the theme")[2].partition("The tests in")[0]
    named = [name for name in _quoted(text.replace("\n", " ")) if name.endswith(".html")]
    assert named
    folders = [Path(folder) for folder in engines["django"].template_dirs]
    libraries = [folder for folder in folders if not folder.is_relative_to(ROOT / "templates")]
    assert [name for name in named if not any((folder / name).is_file() for folder in libraries)] == []


# --- What the code uses ----------------------------------------------------------------------------------------------


def _modules() -> list[Path]:
    found = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in found if "migrations" not in path.parts]


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED and name != "_"


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in {*PACKAGES, "tests"}


def _defined_in(tree: ast.Module) -> set[str]:
    """Return the names that a module defines: functions, classes, variables, arguments and attributes of `self`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
    return found


def _imports(tree: ast.Module) -> Iterator[tuple[str, str, str]]:
    """Yield (name in the module, module that it comes from, name there) of each import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((alias.asname or alias.name, node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.asname or alias.name.split(".")[0], alias.name, "") for alias in node.names)


def private_imports(path: Path) -> set[str]:
    """Return the private names that a module imports from libraries, and private modules in their paths."""
    found: set[str] = set()
    for _, module, name in _imports(_parsed(path)):
        if module == "__future__" or _is_ours(module):
            continue
        found |= {part for part in [*module.split("."), name] if _is_private(part)}
    return found


def private_attributes(path: Path) -> set[str]:
    """Return the private attributes that a module uses and that neither it nor its package defines."""
    tree = _parsed(path)
    ours = {name for name, module, _ in _imports(tree) if _is_ours(module)}
    defined = set().union(*(_defined_in(_parsed(each)) for each in path.parent.glob("*.py")))
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=value, attr=name) if _is_private(name) and name not in defined:
                if _root(value) not in ours:
                    found.add(name)
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr"),
                args=[_, ast.Constant(value=str(name)), *_],
            ) if _is_private(name) and name not in defined:
                found.add(name)
    return found


def _root(node: ast.expr) -> str:
    """Return the name that a chain of attributes begins with."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def private_members(path: Path) -> set[str]:
    """Return the private members of libraries' classes that a module's classes override, assign or call."""
    classes = {node.name: node for node in ast.walk(_parsed(path)) if isinstance(node, ast.ClassDef)}
    # A module without classes is not imported: some are programs.
    if not any(node.bases for node in classes.values()):
        return set()
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    found: set[str] = set()
    for name, node in classes.items():
        kind = getattr(module, name, None)
        if not inspect.isclass(kind):
            continue
        theirs = {
            member
            for base in kind.__mro__
            if base.__module__.partition(".")[0] in IMPORTED_AS.values()
            for member in vars(base)
            if _is_private(member)
        }
        found |= _members_in(node) & theirs
    return found


def _members_in(node: ast.ClassDef) -> set[str]:
    """Return the names that a class defines, and the attributes of `self`, `cls` and `super()` that it uses."""
    found: set[str] = set()
    for statement in node.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Assign(targets=targets):
                found |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
    for each in ast.walk(node):
        match each:
            case ast.Attribute(value=ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")), attr=name):
                found.add(name)
    return found


def replaced_attributes(path: Path) -> set[str]:
    """Return the attributes of libraries' modules and objects that a module assigns: monkeypatches, as a rule."""
    tree = _parsed(path)
    theirs = {name for name, module, _ in _imports(tree) if module.partition(".")[0] in IMPORTED_AS.values()}
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and _root(node) in theirs
        and ast.unparse(node) not in DOCUMENTED_ASSIGNMENTS
    }


def test_the_code_is_read() -> None:
    assert len(_modules()) > 100
    assert private_imports(ROOT / "healthcare/web/rate_limits.py") >= {"_get_window"}
    assert private_members(ROOT / "healthcare/audit_log/models.py") >= {"_raw_delete"}
    assert private_members(ROOT / "healthcare/web/handlers.py") >= {"_middleware_chain"}
    assert private_attributes(ROOT / "operations/management/commands/check_consistency.py") == {"_out"}
    assert replaced_attributes(ROOT / "healthcare/staff_admin/model_admin.py") == {"result_headers"}


@pytest.mark.parametrize("path", _modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_private_names_of_libraries_are_listed(path: Path) -> None:
    used = private_imports(path) | private_attributes(path) | private_members(path) | replaced_attributes(path)
    unlisted = used - LISTED.get(path.relative_to(ROOT).as_posix(), set())
    assert not unlisted, f"List these names in docs/library-internals.md, or use documented ones: {sorted(unlisted)}"
