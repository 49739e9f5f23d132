"""Generated secrets for trials, stored beside the data."""

import contextlib
import os
import secrets
from pathlib import Path

from devstack.errors import DevStackError
from devstack.layout import SECRETS_FOLDER, make_directory


def local_secret(directory: Path, name: str) -> str:
    """Return the secret of that name, which is generated on first use and the same for every process.

    The secret is written completely under another name and then linked. If two processes generate it at the same time,
    both therefore return the secret that was linked first, and neither reads an incomplete one. `DevStack.reset`
    deletes the secret with the data, because a token of an old account must not be valid for a new one: account numbers
    start at 1 again.

    Raises: DevStackError.
    """
    folder = make_directory(directory) / SECRETS_FOLDER
    path = folder / name
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            _publish(path, secrets.token_urlsafe(48))
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise DevStackError(
            f"{name} cannot be stored in {folder} ({error.strerror}). "
            f"Set {name}, or DEVSTACK_DIR to a folder that this user may write."
        ) from error
    if not secret:
        raise DevStackError(f"{path} is empty. Remove this file; the next start generates a new {name}.")
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
