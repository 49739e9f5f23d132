"""A cable between any two members of a replica set, to be cut without being root.

The members of a set reach one another by the addresses in its configuration. Here those are sockets of this process,
which passes on what comes to the member's own socket, and knows who called: the kernel tells the pid of the other end
of a unix socket, and the pid files whose that is. Whoever is no member is a client.

    python -m devstack.relays DIR

takes `cut N` and `heal` as lines, answers each with `done`, and ends with its standard input. A cable that is cut is
silent, like one that was pulled: connections stay open and nothing arrives, new ones are taken and get no answer. What
was under way is gone when it is healed, and both ends are told.
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

CHUNK = 65_536
ANSWER = "done"
#: The other end, where it is no member.
CLIENT = -1


def link_socket(layout: Layout, node: int) -> Path:
    """The address at which a member is reached through its cable."""
    return layout.mongodb_sockets / f"link-{node}.sock"


class Relays:
    """The process that holds the cables, from the outside."""

    def __init__(self, layout: Layout) -> None:
        if not hasattr(socket, "SO_PEERCRED"):
            raise DevStackError("Cables between the members of a set can be cut on Linux only.")
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", __name__, str(layout.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A Ctrl-C in the terminal is for who started it, who closes the pipe.
            start_new_session=True,
            cwd=Path(__file__).resolve().parents[1],
        )
        self._input = cast(IO[str], self._process.stdin)
        self._output = cast(IO[str], self._process.stdout)
        self._await_answer()

    def cut(self, node: int) -> None:
        """Leave the member alone: neither the others nor the clients reach it, nor it them."""
        self._say(f"cut {node}")

    def heal(self) -> None:
        self._say("heal")

    def stop(self) -> None:
        self._input.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        with suppress(BrokenPipeError):
            self._input.write(f"{line}\n")
            self._input.flush()
        self._await_answer()

    def _await_answer(self) -> None:
        if self._output.readline().strip() != ANSWER:
            raise DevStackError("The process that connects the members of the set has ended.")


class Call:
    """A connection through a cable; `source` is a member's number, or CLIENT."""

    def __init__(self, source: int, target: int, writer: asyncio.StreamWriter) -> None:
        self.source, self.target = source, target
        self.writers = [writer]
        self.pumps: list[asyncio.Task[None]] = []
        self.over = asyncio.Event()

    def connect(self, reader: asyncio.StreamReader, other: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self.writers.append(other[1])
        self.pumps = [
            asyncio.create_task(self._pump(reader, other[1])),
            asyncio.create_task(self._pump(other[0], self.writers[0])),
        ]

    def stall(self) -> None:
        for pump in self.pumps:
            pump.cancel()

    def end(self) -> None:
        self.over.set()
        for writer in self.writers:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
        # Not when it is cancelled: then the cable is cut, and neither end may notice.
        self.end()


class Switchboard:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.calls: set[Call] = set()
        self.alone: int | None = None

    async def run(self) -> None:
        servers = []
        for node in range(self.layout.nodes):
            path = link_socket(self.layout, node)
            path.unlink(missing_ok=True)
            servers.append(await asyncio.start_unix_server(partial(self.take, node), path=path))
            path.chmod(0o600)
        commands = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        self._answer()
        while line := await commands.readline():
            match line.decode().split():
                case ["cut", number]:
                    self.cut(int(number))
                case ["heal"]:
                    self.heal()
            self._answer()

    def cut(self, node: int) -> None:
        self.alone = node
        for call in self.calls:
            if self._is_cut(call):
                call.stall()

    def heal(self) -> None:
        stalled = [call for call in self.calls if self._is_cut(call)]
        self.alone = None
        for call in stalled:
            call.end()

    async def take(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = Call(self._who(writer), target, writer)
        self.calls.add(call)
        try:
            if not self._is_cut(call):
                other = await asyncio.open_unix_connection(str(self.layout.mongodb_socket(target)))
                call.connect(reader, other)
                if self._is_cut(call):
                    call.stall()
            await call.over.wait()
        except OSError:
            call.end()
        finally:
            self.calls.discard(call)

    def _is_cut(self, call: Call) -> bool:
        return call.source != call.target and self.alone in (call.source, call.target)

    def _who(self, writer: asyncio.StreamWriter) -> int:
        ends = writer.get_extra_info("socket")
        pid, _, _ = struct.unpack("3i", ends.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        for node in range(self.layout.nodes):
            with suppress(OSError, ValueError, KeyError):
                record = json.loads((self.layout.run / f"mongodb-{node}.pid").read_text(encoding="ascii"))
                if record["pid"] == pid:
                    return node
        return CLIENT

    def _answer(self) -> None:
        sys.stdout.write(f"{ANSWER}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(Switchboard(find_layout(Path(sys.argv[1]))).run())
    # The listening sockets' handlers may still wait; whoever held the pipe is gone.
    os._exit(0)
