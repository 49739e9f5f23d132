"""Tests of the server programs and the libraries that they need."""

from pathlib import Path

import psutil
import pytest

from devstack import DevStack, DevStackError, binaries
from tests.devstack.conftest import processes_of


def test_mongod_uses_the_bundled_libcurl_if_the_system_has_none(folder: Path) -> None:
    stack = DevStack(folder, durable=False, missing_libraries=lambda _: {"libcurl.so.4"})
    stack.up(postgresql=False)
    (mongod,) = processes_of(folder)
    loaded = {Path(entry.path) for entry in mongod.memory_maps() if "libcurl" in entry.path}
    assert [path.parent.name for path in loaded] == ["pycurl.libs"]
    assert "LD_LIBRARY_PATH" not in psutil.Process().environ()


def test_environment_is_unchanged_if_no_library_is_missing(folder: Path, monkeypatch) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    environment = binaries.mongod_environment(binaries.find_mongod(), folder, lambda _: set())
    assert "LD_LIBRARY_PATH" not in environment
    assert not folder.exists()


def test_message_names_the_missing_libraries(tmp_path: Path, monkeypatch) -> None:
    ldd = tmp_path / "ldd"
    ldd.write_text(
        "#!/bin/sh\n"
        "echo '\tlinux-vdso.so.1 (0x00007ffd)'\n"
        "echo '\tlibcurl.so.4 => not found'\n"
        "echo '\tlibssl.so.3 => not found'\n"
        "echo '\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f43)'\n"
    )
    ldd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert binaries.missing_libraries(Path("mongod")) == {"libcurl.so.4", "libssl.so.3"}
    with pytest.raises(DevStackError, match=r"the system lacks libssl\.so\.3\."):
        binaries.mongod_environment(Path("mongod"), tmp_path / "lib")


def test_error_of_a_failed_start_quotes_the_log(folder: Path) -> None:
    stack = DevStack(folder, durable=False)
    stack.up(postgresql=False)
    stack.down()
    (folder / "mongodb" / "0" / "WiredTiger.turtle").write_text("damaged")
    with pytest.raises(
        DevStackError,
        match=r"(?s)^mongodb-0 ended while starting\. The end of .*/mongodb-0\.log:\n.*Fatal assertion",
    ):
        stack.up(postgresql=False)
