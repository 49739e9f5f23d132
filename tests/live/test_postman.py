"""Runs the whole Postman collection with newman against the running server."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.live.server import ROOT, LiveServer

pytestmark = pytest.mark.django_db(transaction=True)
EMAIL, PASSWORD = "postman@example.org", "Pass-phrase of the admin"
COLLECTION = ROOT / "postman" / "SmartHealthcare.postman_collection.json"
RUN_SECONDS = 120


@pytest.fixture
def newman() -> Path:
    found = ROOT / "postman" / "node_modules" / ".bin" / "newman"
    if not found.exists() or not shutil.which("node"):
        pytest.skip("newman is not installed. Install Node.js, then run: npm ci --prefix postman")
    return found


def test_the_collection_s_journey(server: LiveServer, newman: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A command of the server creates the account, because the tests use another password hasher.
    monkeypatch.setitem(server.environment, "DJANGO_SUPERUSER_EMAIL", EMAIL)
    monkeypatch.setitem(server.environment, "DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    server.manage("createsuperuser", "--noinput")
    run = subprocess.run(
        [str(newman), "run", str(COLLECTION), "--color", "off", "--reporters", "cli",
         "--env-var", f"baseUrl=http://127.0.0.1:{server.port}",
         "--env-var", f"adminEmail={EMAIL}", "--env-var", f"adminPassword={PASSWORD}"],
        capture_output=True, text=True, timeout=RUN_SECONDS,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr
