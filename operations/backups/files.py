"""Reads and writes the files of a backup.

The files are readable by their owner only, are hashed while they are written, and are listed in a manifest.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

FORMAT = 1
MANIFEST = "manifest.json"
#: Level 3 compresses nearly as well as gzip's default level in a third of its time.
_COMPRESSION = 3
_CHUNK_BYTES = 1 << 20


class InvalidBackup(Exception):
    """The folder does not hold a complete backup that this version can read; the message says why."""


class WrittenFile(NamedTuple):
    """The manifest's description of a file."""

    file: str
    bytes: int
    sha256: str


class _HashingFile:
    """A file that computes the SHA-256 of the bytes that are written to it."""

    def __init__(self, path: Path) -> None:
        # O_EXCL: the mode is set before anybody can open the file, and no existing file is overwritten.
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> str:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._hash.hexdigest()


def prepare_directory(directory: Path) -> None:
    """Make the folder with mode 0700. Raises: InvalidBackup if the folder is not empty; OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise InvalidBackup(f"{directory} is not empty: name an empty folder, or one that does not exist yet.")
    directory.chmod(0o700)


@contextmanager
def compressed_file(directory: Path, name: str) -> Iterator[tuple[IO[bytes], list[WrittenFile]]]:
    """Yield a gzip file to write to, and a list that contains the file's description after the block."""
    path = directory / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    target = _HashingFile(path)
    written: list[WrittenFile] = []
    try:
        # The header has no file name and no time, so that the same data produce the same file.
        with gzip.GzipFile(
            filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=cast(Any, target), mtime=0
        ) as out:
            yield cast(IO[bytes], out), written
    finally:
        digest = target.close()
    written.append(WrittenFile(name, target.size, digest))


@contextmanager
def open_compressed(directory: Path, name: str) -> Iterator[IO[bytes]]:
    """Yield the uncompressed bytes of a file of the backup."""
    with gzip.open(directory / name, "rb") as opened:
        yield cast(IO[bytes], opened)


def write_manifest(directory: Path, manifest: dict[str, Any]) -> str:
    """Write the manifest and return its SHA-256. Call this last, because a folder without a manifest is no backup."""
    text = (json.dumps({"format": FORMAT, **manifest}, indent=1) + "\n").encode()
    draft = directory / f".{MANIFEST}"
    target = _HashingFile(draft)
    target.write(text)
    digest = target.close()
    draft.rename(directory / MANIFEST)
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return digest


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest. Raises: InvalidBackup."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise InvalidBackup(
            f"{directory} holds no {MANIFEST}: the folder is no backup, or a backup that did not finish."
        ) from None
    except (OSError, ValueError) as error:
        raise InvalidBackup(f"{directory / MANIFEST} cannot be read: {type(error).__name__}.") from error
    if manifest.get("format") != FORMAT:
        raise InvalidBackup(f"The backup has format {manifest.get('format')!r}; this version reads format {FORMAT}.")
    return manifest


def verify(directory: Path, files: list[dict[str, Any]]) -> None:
    """Compare each file with its SHA-256 in the manifest. Raises: InvalidBackup."""
    for entry in files:
        path = directory / entry["file"]
        if not path.resolve().is_relative_to(directory.resolve()):
            raise InvalidBackup(f"The manifest names {entry['file']}, which is outside the folder.")
        if not path.is_file():
            raise InvalidBackup(f"{entry['file']} is missing.")
        digest = hashlib.sha256()
        with path.open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != entry["sha256"]:
            raise InvalidBackup(f"{entry['file']} was changed after the backup: its SHA-256 differs.")
