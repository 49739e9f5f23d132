"""`manage.py devstack` starts, stops and shows the embedded MongoDB and PostgreSQL."""

import time
from argparse import ArgumentParser
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from devstack import DevStack, DevStackError
from devstack.layout import MAX_NODES
from devstack.processes import log_tail

LOG_LINES = 20


class Command(BaseCommand):
    help = "Start, stop and show the embedded MongoDB and PostgreSQL."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action",
            choices=("up", "down", "status", "env", "logs", "reset"),
            help=(
                "up: start the servers that do not run. down: stop them and keep the data. status: list the servers. "
                "env: print the two addresses as shell assignments. logs: print the end of each log. "
                "reset: stop the servers and delete their data."
            ),
        )
        parser.add_argument(
            "--nodes",
            type=int,
            choices=range(1, MAX_NODES + 1),
            metavar="N",
            help=f"members of the replica set, 1 to {MAX_NODES}; fixed by the first `up`; default: 1",
        )
        parser.add_argument(
            "--dir", type=Path, metavar="DIR", help=f"folder of the servers; default: {settings.DEVSTACK_DIR}"
        )

    def handle(self, *, action: str, nodes: int | None, dir: Path | None, **options: object) -> None:  # noqa: A002
        try:
            stack = DevStack(dir or settings.DEVSTACK_DIR, nodes=nodes)
            getattr(self, action)(stack, is_named=dir is not None)
        except DevStackError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"The embedded servers cannot be managed: {error}") from error

    def up(self, stack: DevStack, *, is_named: bool) -> None:
        addresses = stack.addresses
        wanted = {
            # A URL that was copied from `devstack env` still means the embedded server.
            name: is_named or getattr(settings, name) == addresses[name]
            for name in addresses
        }
        external = " and ".join(name for name, is_wanted in wanted.items() if not is_wanted)
        if external:
            self.stdout.write(f"{external} set: not started here.")
        if not any(wanted.values()):
            return
        began = time.monotonic()
        stack.up(mongodb=wanted["MONGODB_URI"], postgresql=wanted["DATABASE_URL"])
        self.stdout.write(f"Up after {time.monotonic() - began:.1f} s, in {stack.directory}")
        for place in stack.layout.elsewhere:
            self.stdout.write(f"Also in {place} (devstack/layout.py says why)")

    def down(self, stack: DevStack, **_: bool) -> None:
        stack.down()
        self.stdout.write(f"Down. The data stays in {stack.directory}")

    def status(self, stack: DevStack, **_: bool) -> None:
        for server in stack.status():
            pid = f"pid {server.pid}" if server.pid else ""
            self.stdout.write(
                f"{server.name:<11} {server.state:<9} {pid:<11} {server.version or '':<7} {server.address}"
            )

    def env(self, stack: DevStack, *, is_named: bool) -> None:
        for name, address in stack.addresses.items():
            self.stdout.write(f"{name}={address if is_named else getattr(settings, name)}")

    def logs(self, stack: DevStack, **_: bool) -> None:
        for log in stack.logs().values():
            self.stdout.write(log_tail(log, lines=LOG_LINES))

    def reset(self, stack: DevStack, **_: bool) -> None:
        stack.reset()
        self.stdout.write(f"Deleted the servers' data in {stack.directory}")
