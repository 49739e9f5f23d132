"""The files of a backup: written for nobody else to read, hashed while they are written, named in a manifest."""

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
#: Most of the gain at a third of the time of gzip's own default.
_COMPRESSION = 3
_CHUNK_BYTES = 1 << 20


class NoBackup(Exception):
    """The folder does not hold a whole backup that this version can read; says why."""


class Written(NamedTuple):
    """What the manifest says of a file."""

    file: str
    bytes: int
    sha256: str


class _Hashed:
    """A file that hashes what goes into it."""

    def __init__(self, path: Path) -> None:
        # Not to be opened before its mode is set, and never over another file.
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


def prepare(directory: Path) -> None:
    """Make the folder, for its owner alone. Raises: NoBackup when there is something in it; OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise NoBackup(f"{directory} is not empty: name a folder that is, or that is not there yet.")
    directory.chmod(0o700)


@contextmanager
def writing(directory: Path, name: str) -> Iterator[tuple[IO[bytes], list[Written]]]:
    """A compressed file to write into, and a list that has its description when the block is over."""
    path = directory / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    target = _Hashed(path)
    described: list[Written] = []
    try:
        # No name and no time inside: the same data make the same file.
        with gzip.GzipFile(
            filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=cast(Any, target), mtime=0
        ) as out:
            yield cast(IO[bytes], out), described
    finally:
        digest = target.close()
    described.append(Written(name, target.size, digest))


@contextmanager
def reading(directory: Path, name: str) -> Iterator[IO[bytes]]:
    with gzip.open(directory / name, "rb") as opened:
        yield cast(IO[bytes], opened)


def write_manifest(directory: Path, manifest: dict[str, Any]) -> str:
    """Put the manifest in its place, last of all: a folder without one is no backup. Returns its SHA-256."""
    text = (json.dumps({"format": FORMAT, **manifest}, indent=1) + "\n").encode()
    unfinished = directory / f".{MANIFEST}"
    target = _Hashed(unfinished)
    target.write(text)
    digest = target.close()
    unfinished.rename(directory / MANIFEST)
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return digest


def read_manifest(directory: Path) -> dict[str, Any]:
    """Raises: NoBackup."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise NoBackup(f"{directory} holds no {MANIFEST}: it is no backup, or one that did not end.") from None
    except (OSError, ValueError) as error:
        raise NoBackup(f"{directory / MANIFEST} cannot be read: {type(error).__name__}.") from error
    if manifest.get("format") != FORMAT:
        raise NoBackup(f"The backup has format {manifest.get('format')!r}; this version reads format {FORMAT}.")
    return manifest


def verify(directory: Path, files: list[dict[str, Any]]) -> None:
    """Compare each file with what the manifest says of it. Raises: NoBackup."""
    for said in files:
        path = directory / said["file"]
        if not path.resolve().is_relative_to(directory.resolve()):
            raise NoBackup(f"The manifest names {said['file']}, which is not in the folder.")
        if not path.is_file():
            raise NoBackup(f"{said['file']} is missing.")
        digest = hashlib.sha256()
        with path.open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != said["sha256"]:
            raise NoBackup(f"{said['file']} is not what was written: its SHA-256 differs.")
