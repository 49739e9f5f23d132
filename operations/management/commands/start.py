"""`make run` and `make serve`: from nothing to a hospital that answers, on loopback."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from typing import Any

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
        "Sets up and serves: starts the embedded servers when MONGODB_URI or DATABASE_URL is not set, migrates, seeds"
        " an empty system with demo data, starts the development server (or, with --production, gunicorn) and the event"
        " relay, and prints the URL and the logins."
    )
    # The checks of a database tag would need the servers that this command starts.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="port on 127.0.0.1 (8000)")
        parser.add_argument("--production", action="store_true", help="gunicorn with DEBUG off, plain HTTP")
        parser.add_argument("--workers", type=int, default=3, help="gunicorn's processes (3)")

    def handle(self, *args: Any, port: int, production: bool, workers: int, **options: Any) -> None:
        if not 1 <= port <= 65535:
            raise CommandError("The port is a number from 1 to 65535.")
        if workers < 1:
            raise CommandError("At least one worker is needed.")
        self._refuse_taken_port(port)
        self._start_servers()
        self._migrate()
        if not Patient.objects.exists():
            call_command("seed", demo_accounts=True)
        elif report_services.are_missing():
            # Records from before there were reports, or from a restore of some collections.
            self.stdout.write("Counting what is there for the reports …")
            call_command("rebuild_reports", verbosity=0)
        server = production_server(port, workers=workers) if production else self._development_server(port)
        self._serve(server, port, production)

    def _refuse_taken_port(self, port: int) -> None:
        with socket.socket() as probe:
            # As the servers do, so that a port in TIME_WAIT does not count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                message = f"Port {port} cannot be used ({error.strerror}): name another, PORT=8001."
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
        """Run the server, print where it is once it answers, end with it."""
        environment = {
            **os.environ,
            "DEBUG": "0" if production else "1",
            "HTTPS_ONLY": "0",
            "LOCAL_SECRETS": "1",
        }
        # The command is ours, from this file.
        server = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment)  # noqa: S603
        # A terminal's Ctrl-C reaches the server by itself; what a supervisor sends comes here only.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        self._wait_until_it_answers(server, port)
        # What an outage leaves waiting is delivered, and the audit trail sealed, as in production.
        watch = [sys.executable, "manage.py", "relay_events", "--watch", "--verbosity", "0"]
        relay = subprocess.Popen(watch, cwd=settings.BASE_DIR, env=environment)  # noqa: S603
        self._say_where(port)
        status = server.wait()
        relay.terminate()
        relay.wait()
        if settings.EMBEDDED_MONGODB or settings.EMBEDDED_POSTGRESQL:
            self.stdout.write("The databases keep running; `manage.py devstack down` stops them.")
        # 130 and a negative signal number are how servers end that were asked to.
        if status > 0 and status != 128 + signal.SIGINT:
            raise CommandError(f"The server ended with status {status}.", returncode=status)

    def _wait_until_it_answers(self, server: subprocess.Popen[bytes], port: int) -> None:
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

    def _say_where(self, port: int) -> None:
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
