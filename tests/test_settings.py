"""Tests of a deployment's settings: each is documented and read, and invalid values are refused with a sentence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETTINGS = (ROOT / "healthcare" / "settings.py").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
GIVEN = {"MONGODB_URI": "mongodb://h/?replicaSet=rs0", "DATABASE_URL": "postgres://u@h/d"}


def settings_in(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    code = (
        "import environ; environ.Env.read_env = staticmethod(lambda *a, **k: None)\n"
        "from healthcare import settings as s\n"
        "print(s.DEBUG, s.HTTPS_ONLY, s.DATABASES['default']['ENGINE'], s.DATABASES['clinical']['HOST'])"
    )
    clean = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in known_variables()}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**clean, **environment}, capture_output=True, text=True, timeout=60
    )


def known_variables() -> set[str]:
    read = set(re.findall(r'(?:env\.\w+|_secret|_rate|_master_key)\("([A-Z_]+)"', SETTINGS))
    providers = re.findall(r'_provider\("([A-Z]+)"', SETTINGS)
    return read | {f"OAUTH_{name}_CLIENT_{part}" for name in providers for part in ("ID", "SECRET")}


def test_example_lists_exactly_the_variables_that_are_read() -> None:
    assert set(re.findall(r"^# ([A-Z_]+)=", EXAMPLE, re.M)) == known_variables()


def test_secrets_are_required_in_production() -> None:
    result = settings_in(GIVEN)
    assert result.returncode != 0
    assert "SECRET_KEY is not set" in result.stderr


def test_production_is_https_only_and_not_debug() -> None:
    result = settings_in({**GIVEN, "SECRET_KEY": "s" * 50, "JWT_SECRET_KEY": "j" * 50})
    assert result.stdout.split() == ["False", "True", "healthcare.postgresql", GIVEN["MONGODB_URI"]]


@pytest.mark.parametrize("url", ["mysql://u@h/d", "oracle://u@h/d", "nonsense"])
def test_other_databases_are_refused_with_a_sentence(url: str) -> None:
    result = settings_in({**GIVEN, "DATABASE_URL": url, "LOCAL_SECRETS": "1"})
    assert result.returncode != 0
    assert "DATABASE_URL must be" in result.stderr


def test_sqlite_is_accepted_for_a_trial(tmp_path: Path) -> None:
    result = settings_in(
        {**GIVEN, "DATABASE_URL": f"sqlite:///{tmp_path}/d.sqlite3", "SECRET_KEY": "s" * 50, "JWT_SECRET_KEY": "j" * 50}
    )
    assert result.stdout.split()[2] == "django.db.backends.sqlite3"


def test_secret_from_a_file(tmp_path: Path) -> None:
    key, url = tmp_path / "secret_key", tmp_path / "database_url"
    key.write_text("s" * 50 + "\n")
    url.write_text("sqlite:///elsewhere.sqlite3\n")
    given = {"MONGODB_URI": GIVEN["MONGODB_URI"], "JWT_SECRET_KEY": "j" * 50, "SECRET_KEY_FILE": str(key)}
    result = settings_in({**given, "DATABASE_URL_FILE": str(url)})
    assert result.stdout.split()[2] == "django.db.backends.sqlite3", result.stderr
    # The line break does not count, so the secret is too short.
    key.write_text("s" * 49 + "\n")
    assert "SECRET_KEY is shorter than 50 bytes" in settings_in({**given, "DATABASE_URL_FILE": str(url)}).stderr


def test_message_names_a_missing_file() -> None:
    result = settings_in({**GIVEN, "SECRET_KEY_FILE": "/nonexistent/key"})
    assert result.returncode != 0
    assert "SECRET_KEY_FILE names /nonexistent/key: No such file or directory." in result.stderr
