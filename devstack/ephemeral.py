"""Temporary servers for one test run or demonstration, in a temp folder that is removed when the process ends."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from devstack.stack import DevStack

MEMORY = Path("/dev/shm")  # noqa: S108 - the folder in it has a random name
MEMORY_NEEDED_BYTES = 2 * 1024**3


def fastest_temp_directory() -> Path:
    """Return a folder in memory if 2 GiB are free. initdb's thousand files take 0.6 s there and 1.8 s on a disk."""
    is_usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK | os.X_OK)
    if is_usable and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED_BYTES:
        return MEMORY
    return Path(tempfile.gettempdir())


class EphemeralStack(DevStack):
    """A stack that is removed when its process ends, even by `kill -9`.

    A guard process waits on a pipe from this process. The kernel closes the pipe however this process ends, and the
    guard then stops the servers and removes the folder.
    """

    def __init__(self, *, nodes: int | None = None, durable: bool = False) -> None:
        parent = Path(tempfile.gettempdir()) if durable else fastest_temp_directory()
        super().__init__(parent / f"healthcare-{secrets.token_hex(8)}", nodes=nodes, durable=durable)
        self._guard: subprocess.Popen[bytes] | None = None

    def up(self, *, mongodb: bool = True, postgresql: bool = True) -> None:
        if self._guard is None:
            self._guard = subprocess.Popen(  # noqa: S603 - our own command
                [sys.executable, "-m", __name__, str(self.directory)],
                stdin=subprocess.PIPE,
                start_new_session=True,
                cwd=Path(__file__).resolve().parents[1],
            )
        super().up(mongodb=mongodb, postgresql=postgresql)

    def reset(self) -> None:
        super().reset()
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
            self._guard = None

    def __enter__(self) -> "EphemeralStack":
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()


def guard(directory: Path) -> None:
    """Wait until standard input is closed, then stop the servers and remove the folder."""
    sys.stdin.buffer.read()
    DevStack(directory).reset()


if __name__ == "__main__":
    guard(Path(sys.argv[1]))
