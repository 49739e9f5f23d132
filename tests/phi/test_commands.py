"""The commands `encrypt_phi` and `rotate_phi_key`, and the check of the key when a process starts."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import override_settings

from accounts.models import User
from healthcare.mongodb import encryption, raw
from healthcare.mongodb.encrypted_fields import encrypted_fields
from operations.management.commands import encrypt_phi
from patients.models import Patient
from patients.services import update_patient
from tests.audit.entries import recording
from tests.live.conftest import environment_of_this_run
from tests.people import make_account, make_patient
from tests.phi.conftest import as_text, configured, new_key
from tests.phi.test_fields import VALUES

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]


def run(name: str, **options: Any) -> str:
    said = StringIO()
    call_command(name, stdout=said, **options)
    return said.getvalue()


@pytest.fixture
def admin() -> User:
    return make_account("admin", "admin@example.org")


def documents() -> list[dict[str, Any]]:
    return raw.collection(Patient).find({}, sort=[("_id", 1)])


def has_plain(document: dict[str, Any]) -> bool:
    return any(isinstance(document[name], str) for name in encrypted_fields(Patient))


# --- encrypt_phi -----------------------------------------------------------------------------------------------------


def test_existing_values_are_encrypted(admin: User, key: bytes) -> None:
    for number in range(7):
        make_patient(admin, f"P{number}", **VALUES)
    make_patient(admin, "P9", phone="12345")
    make_patient(admin, "Pnone")
    before = list(Patient.objects.order_by("patient_id"))
    encryption.forget()
    with override_settings(PHI_ENCRYPTION=configured(key)):
        assert "8 patients have plain values" in run("encrypt_phi", dry_run=True)
        assert sum(map(has_plain, documents())) == 8
        with recording() as made:
            assert "8 patients were encrypted" in run("encrypt_phi")
        assert not any(map(has_plain, documents()))
        for was in before:
            now = Patient.objects.get(pk=was.pk)
            assert {n: getattr(now, n) for n in VALUES} == {n: getattr(was, n) for n in VALUES}
            assert now.name == was.name
        assert "0 patients were encrypted" in run("encrypt_phi")
    encryption.forget()
    assert [(entry.action, entry.patient_ids) for entry in made.entries] == [
        ("patient.encrypted", [f"P{number}" for number in (*range(7), 9)])
    ]


def test_it_continues_where_it_was_interrupted(admin: User, key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        make_patient(admin, f"P{number}", **VALUES)
    monkeypatch.setattr(encrypt_phi, "BATCH", 4)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    encryption.forget()
    with override_settings(PHI_ENCRYPTION=configured(key)):
        with pytest.raises(KeyboardInterrupt):
            encrypt_phi.encrypt_once(Patient, interrupt)
        assert sum(map(has_plain, documents())) == 5
        assert "5 patients were encrypted" in run("encrypt_phi")
    encryption.forget()


def test_a_change_meanwhile_is_kept(admin: User, key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that changes between the command's read and its write keeps the change."""
    make_patient(admin, "P1", **VALUES)
    encryption.forget()
    with override_settings(PHI_ENCRYPTION=configured(key)):
        write = raw.Collection.bulk_write
        calls: list[int] = []

        def late(self: raw.Collection, *args: Any, **options: Any) -> Any:
            if not calls:
                calls.append(1)
                update_patient(actor=admin, patient_id="P1", phone="99999")
            return write(self, *args, **options)

        monkeypatch.setattr(raw.Collection, "bulk_write", late)
        run("encrypt_phi")
        patient = Patient.objects.get(pk="P1")
        assert (patient.phone, patient.address) == ("99999", VALUES["address"])
        assert not any(map(has_plain, documents()))
    encryption.forget()


def test_without_a_key_there_is_nothing_to_do() -> None:
    for name in ("encrypt_phi", "rotate_phi_key"):
        with pytest.raises(CommandError, match="PHI_MASTER_KEY is not set"):
            run(name)


# --- rotate_phi_key --------------------------------------------------------------------------------------------------


def wrapped_by() -> set[str]:
    return {each["masterKey"]["provider"] for each in raw.collection(encryption.DATA_KEYS).find({})}


def test_rotation_rewraps_and_the_old_key_can_go(phi: None, admin: User, key: bytes) -> None:
    make_patient(admin, "P1", **VALUES)
    (document,) = documents()
    newer = new_key()
    old, new = configured(key)["provider"], configured(newer)["provider"]
    with override_settings(PHI_ENCRYPTION=configured(key, newer)):
        encryption.forget()
        # With both keys, values that the old one has wrapped are readable.
        assert Patient.objects.get(pk="P1").phone == VALUES["phone"]
        assert "1 data keys would be" in run("rotate_phi_key", dry_run=True)
        assert wrapped_by() == {old}
        with recording() as made:
            assert "1 data keys were rewrapped" in run("rotate_phi_key")
        assert [entry.action for entry in made.entries] == ["phi_key.rotated"]
        assert "0 data keys were rewrapped" in run("rotate_phi_key")
    assert wrapped_by() == {new}
    assert documents() == [document]
    with override_settings(PHI_ENCRYPTION=configured(newer)):
        encryption.forget()
        assert Patient.objects.get(pk="P1").notes == VALUES["notes"]


# --- When a process starts -------------------------------------------------------------------------------------------


def check() -> None:
    connection = connections["clinical"]
    encryption.check(connection.connection, connection.settings_dict["NAME"])


def test_start_with_the_right_key(phi: None, admin: User) -> None:
    check()
    make_patient(admin, "P1", **VALUES)
    check()


def test_start_without_the_key(phi: None, admin: User, key: bytes) -> None:
    make_patient(admin, "P1", **VALUES)
    with (
        override_settings(PHI_ENCRYPTION=None),
        pytest.raises(encryption.KeyProblem, match="PHI_MASTER_KEY is not set"),
    ):
        check()


def test_start_with_another_key(phi: None, admin: User) -> None:
    make_patient(admin, "P1", **VALUES)
    other = configured(new_key())
    with override_settings(PHI_ENCRYPTION=other), pytest.raises(encryption.KeyProblem, match=other["provider"]):
        check()


def test_start_with_another_key_of_the_same_name(phi: None, admin: User, key: bytes) -> None:
    make_patient(admin, "P1", **VALUES)
    name = configured(key)["provider"]
    other = {"kms_providers": {name: {"key": new_key()}}, "provider": name, "master_key": None}
    with override_settings(PHI_ENCRYPTION=other), pytest.raises(encryption.KeyProblem, match="cannot be unwrapped"):
        check()


@pytest.mark.django_db(transaction=True, databases=["default", "clinical"])
@pytest.mark.parametrize("given", ["none", "another"])
@pytest.mark.parametrize("start", [["manage.py", "check_consistency"], ["-m", "gunicorn", "healthcare.wsgi"]])
def test_a_process_with_the_wrong_key_does_not_start(phi: None, given: str, start: list[str]) -> None:
    make_patient(make_account("admin", "admin@example.org"), "P1", **VALUES)
    environment = {**os.environ, **environment_of_this_run()}
    if given == "another":
        environment["PHI_MASTER_KEY"] = as_text(new_key())
    if "gunicorn" in start:
        start = [*start, "--bind", "127.0.0.1:0", "--no-control-socket"]
    done = subprocess.run(
        [sys.executable, *start], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode not in (0, None)
    assert "The data are encrypted under local:key_" in done.stderr


@pytest.mark.parametrize("text", ["short", "AAAA", "not base64!", as_text(b"\0" * 96), as_text(new_key()[:95])])
def test_an_invalid_key_stops_the_start(text: str) -> None:
    from tests.test_settings import GIVEN, settings_in

    secrets = {"SECRET_KEY": "s" * 50, "JWT_SECRET_KEY": "j" * 50}
    refused = settings_in({**GIVEN, **secrets, "PHI_MASTER_KEY": text})
    assert refused.returncode != 0
    assert "PHI_MASTER_KEY is 96 random bytes in base64" in refused.stderr
    assert text not in refused.stderr.replace("short", "") or text == "short"
    refused = settings_in({**GIVEN, **secrets, "PHI_MASTER_KEY_PREVIOUS": as_text(new_key())})
    assert "PHI_MASTER_KEY_PREVIOUS is set without" in refused.stderr
