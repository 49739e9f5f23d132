"""Relays between the members of a replica set, which simulate a network partition without root's permissions.

The members of a set reach one another by the addresses in the set's configuration. With relays these addresses are
sockets of this process, which forwards each connection to the member's own socket. The process identifies the caller:
the kernel reports the pid of the other end of a unix socket, and the pid files contain the members' pids. A caller that
is no member is a client.

    python -m devstack.relays DIR

The process reads the commands `cut N` and `heal` as lines, answers each with `done`, and ends when its standard input
is closed. A cut connection behaves like one with a pulled cable: existing connections stay open and transfer nothing,
new ones are accepted and get no answer. `heal` closes the cut connections at both ends; data in transit is lost.
"""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, cast

from devstack.errors import DevStackError
from devstack.layout import Layout, find_layout

CHUNK_BYTES = 65_536
DONE = "done"
#: The number of a caller that is no member.
CLIENT = -1


def relay_socket(layout: Layout, node: int) -> Path:
    """Return the address at which the others reach a member through its relay."""
    return layout.mongodb_sockets / f"link-{node}.sock"


class Relays:
    """Starts and controls the relay process."""

    def __init__(self, layout: Layout) -> None:
        if not hasattr(socket, "SO_PEERCRED"):
            raise DevStackError("Connections between the members of a set can be cut on Linux only.")
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", __name__, str(layout.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C must reach only the process that started this one and closes the pipe.
            start_new_session=True,
            cwd=Path(__file__).resolve().parents[1],
        )
        self._input = cast(IO[str], self._process.stdin)
        self._output = cast(IO[str], self._process.stdout)
        self._await_done()

    def cut(self, node: int) -> None:
        """Cut all connections between the member and the other members or clients."""
        self._send(f"cut {node}")

    def heal(self) -> None:
        self._send("heal")

    def stop(self) -> None:
        self._input.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        with suppress(BrokenPipeError):
            self._input.write(f"{line}\n")
            self._input.flush()
        self._await_done()

    def _await_done(self) -> None:
        if self._output.readline().strip() != DONE:
            raise DevStackError("The relay process has ended.")


class RelayedConnection:
    """A forwarded connection; `source` is a member's number, or CLIENT."""

    def __init__(self, source: int, target: int, writer: asyncio.StreamWriter) -> None:
        self.source, self.target = source, target
        self.writers = [writer]
        self.pumps: list[asyncio.Task[None]] = []
        self.is_closed = asyncio.Event()

    def connect(self, reader: asyncio.StreamReader, other: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.writers.append(other[1])
        self.pumps = [
            asyncio.create_task(self._pump(reader, other[1])),
            asyncio.create_task(self._pump(other[0], self.writers[0])),
        ]

    def cut(self) -> None:
        """Stop forwarding without closing either end."""
        for pump in self.pumps:
            pump.cancel()

    def close(self) -> None:
        self.is_closed.set()
        for writer in self.writers:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
        # Not reached if the task is cancelled: the connection is cut then, and neither end must notice.
        self.close()


class RelayServer:
    """Listens on the relay sockets and forwards connections."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.connections: set[RelayedConnection] = set()
        self.isolated: int | None = None

    async def run(self) -> None:
        servers = []
        for node in range(self.layout.nodes):
            path = relay_socket(self.layout, node)
            path.unlink(missing_ok=True)
            servers.append(await asyncio.start_unix_server(partial(self.accept, node), path=path))
            path.chmod(0o600)
        commands = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        self._report_done()
        while line := await commands.readline():
            match line.decode().split():
                case ["cut", number]:
                    self.cut(int(number))
                case ["heal"]:
                    self.heal()
            self._report_done()

    def cut(self, node: int) -> None:
        self.isolated = node
        for connection in self.connections:
            if self._is_cut(connection):
                connection.cut()

    def heal(self) -> None:
        cut = [connection for connection in self.connections if self._is_cut(connection)]
        self.isolated = None
        for connection in cut:
            connection.close()

    async def accept(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RelayedConnection(self._caller(writer), target, writer)
        self.connections.add(connection)
        try:
            if not self._is_cut(connection):
                other = await asyncio.open_unix_connection(str(self.layout.mongodb_socket(target)))
                connection.connect(reader, other)
                if self._is_cut(connection):
                    connection.cut()
            await connection.is_closed.wait()
        except OSError:
            connection.close()
        finally:
            self.connections.discard(connection)

    def _is_cut(self, connection: RelayedConnection) -> bool:
        return connection.source != connection.target and self.isolated in (connection.source, connection.target)

    def _caller(self, writer: asyncio.StreamWriter) -> int:
        ends = writer.get_extra_info("socket")
        pid, _, _ = struct.unpack("3i", ends.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        for node in range(self.layout.nodes):
            with suppress(OSError, ValueError, KeyError):
                record = json.loads((self.layout.run / f"mongodb-{node}.pid").read_text(encoding="ascii"))
                if record["pid"] == pid:
                    return node
        return CLIENT

    def _report_done(self) -> None:
        sys.stdout.write(f"{DONE}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(RelayServer(find_layout(Path(sys.argv[1]))).run())
    # Exit at once: handlers of open connections may still wait, and the process that held the pipe has ended.
    os._exit(0)
