"""Secrets that a trial needs and nobody wants to invent: made once, kept beside the data."""

import contextlib
import os
import secrets
from pathlib import Path

from devstack.errors import DevStackError
from devstack.layout import SECRETS_FOLDER, make_directory


def local_secret(directory: Path, name: str) -> str:
    """The secret of that name, made on first use; every process that asks gets the same one.

    It is written in full under another name and then linked, so that of two processes asking at once one wins
    and none reads half of it. `DevStack.reset` drops it with the data: a token of the old accounts must not
    open the new ones, whose numbers begin at 1 again.
    """
    folder = make_directory(directory) / SECRETS_FOLDER
    path = folder / name
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            _publish(path, secrets.token_urlsafe(48))
        secret = path.read_text(encoding="ascii").strip()
    except OSError as reason:
        raise DevStackError(
            f"{name} cannot be kept in {folder} ({reason.strerror}). "
            f"Set {name}, or DEVSTACK_DIR to a folder that this user may write."
        ) from reason
    if not secret:
        raise DevStackError(f"{path} is empty. Remove it, and a new {name} is made.")
    return secret


def _publish(path: Path, secret: str) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
