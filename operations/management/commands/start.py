"""`manage.py start`, behind `make run` and `make serve`: sets the system up and serves it on the loopback address."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from datasets.seed.demo import demo_logins
from devstack import DevStack, DevStackError
from operations.serving import HOST, production_server
from patients.models import Patient
from reports import services as report_services

START_SECONDS = 60


class Command(BaseCommand):
    help = (
        "Sets up and serves the system: starts the embedded servers if MONGODB_URI or DATABASE_URL is not set,"
        " migrates, seeds an empty system with demo data, starts the development server (or gunicorn) and the event"
        " relay, and prints the URL and the logins."
    )
    # The database checks need the servers that this command starts.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (8000)")
        parser.add_argument("--production", action="store_true", help="gunicorn with DEBUG off, plain HTTP")
        parser.add_argument("--workers", type=int, default=3, help="number of gunicorn's worker processes (3)")

    def handle(self, *args: object, port: int, production: bool, workers: int, **options: object) -> None:
        if not 1 <= port <= 65535:
            raise CommandError("The port must be a number from 1 to 65535.")
        if workers < 1:
            raise CommandError("At least one worker is needed.")
        self._require_free_port(port)
        self._start_servers()
        self._migrate()
        if not Patient.objects.exists():
            call_command("seed", demo_accounts=True)
        elif report_services.is_rebuild_needed():
            # The records are older than the reports, or only some collections were restored.
            self.stdout.write("Building the reports from the existing records …")
            call_command("rebuild_reports", verbosity=0)
        server = production_server(port, workers=workers) if production else self._development_server(port)
        self._serve(server, port, production)

    def _require_free_port(self, port: int) -> None:
        with socket.socket() as probe:
            # The servers set SO_REUSEADDR as well, so a port in TIME_WAIT is free for them.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                message = f"Port {port} cannot be used ({error.strerror}). Choose another, such as PORT=8001."
                raise CommandError(message) from error

    def _start_servers(self) -> None:
        if not (settings.EMBEDDED_MONGODB or settings.EMBEDDED_POSTGRESQL):
            return
        self.stdout.write("Starting the embedded servers …")
        try:
            DevStack(settings.DEVSTACK_DIR).up(
                mongodb=settings.EMBEDDED_MONGODB, postgresql=settings.EMBEDDED_POSTGRESQL
            )
        except DevStackError as error:
            raise CommandError(str(error)) from error

    def _migrate(self) -> None:
        self.stdout.write("Migrating both databases …")
        for database in settings.DATABASES:
            call_command("migrate", database=database, verbosity=0, interactive=False)

    @staticmethod
    def _development_server(port: int) -> list[str]:
        return [sys.executable, "manage.py", "runserver", f"{HOST}:{port}"]

    def _serve(self, command: list[str], port: int, production: bool) -> None:
        """Run the server, print its addresses once it answers, and end when it ends."""
        environment = {
            **os.environ,
            "DEBUG": "0" if production else "1",
            "HTTPS_ONLY": "0",
            "LOCAL_SECRETS": "1",
        }
        server = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment)  # noqa: S603
        # Ctrl-C in a terminal reaches the server as well; a supervisor's SIGTERM reaches only this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        self._wait_until_ready(server, port)
        # The relay runs as in production: it delivers events that an outage has delayed, and seals the audit log.
        watch = [sys.executable, "manage.py", "relay_events", "--watch", "--verbosity", "0"]
        relay = subprocess.Popen(watch, cwd=settings.BASE_DIR, env=environment)  # noqa: S603
        self._print_addresses(port)
        status = server.wait()
        relay.terminate()
        relay.wait()
        if settings.EMBEDDED_MONGODB or settings.EMBEDDED_POSTGRESQL:
            self.stdout.write("The databases keep running; `manage.py devstack down` stops them.")
        # A server that was asked to end has status 130 or a negative signal number.
        if status > 0 and status != 128 + signal.SIGINT:
            raise CommandError(f"The server ended with status {status}.", returncode=status)

    def _wait_until_ready(self, server: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if server.poll() is not None:
                raise CommandError(f"The server ended with status {server.returncode} before it answered.")
            try:
                connection = http.client.HTTPConnection(HOST, port, timeout=5)
                connection.request("GET", "/api")
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        server.terminate()
        raise CommandError(f"The server did not answer within {START_SECONDS} seconds.")

    def _print_addresses(self, port: int) -> None:
        url = f"http://{HOST}:{port}"
        lines = [
            "",
            f"Smart Healthcare is at {url}",
            f"  admin  {url}/admin/",
            f"  API    {url}/api   (documentation: {url}/docs)",
        ]
        logins = demo_logins()
        if logins:
            lines += ["", "Log in with"]
            lines += [f"  {login.role:8} {login.email:22} {login.password}" for login in logins]
        lines += ["", "Ctrl-C ends it.", ""]
        self.stdout.write("\n".join(lines))
        self.stdout.flush()
