"""`manage.py relay_events` delivers events that an outage of a database or a process has delayed.

With --watch it also seals the audit log about once a minute. After SIGTERM or Ctrl-C it finishes the current event and
ends.
"""

import signal
import threading
import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from audit import services as audit_services
from healthcare.errors import is_outage
from healthcare.outbox import events

MAX_WAIT_SECONDS = 30
SEAL_SECONDS = 60.0
#: The server that published an event delivers it and acknowledges deliveries in batches. The relay waits this long
#: before it delivers the event itself.
GRACE_PERIOD = timedelta(seconds=1)


class Command(BaseCommand):
    help = (
        "Delivers events that wait for a consumer, such as the completed visits that must be billed. Ends when none is "
        "due; with --watch it continues, and seals the audit log every minute."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--watch", action="store_true", help="continue until stopped, also during outages")
        parser.add_argument(
            "--interval", type=float, default=1.0, help="seconds between two queries for due events (1)"
        )

    def handle(self, *args: object, watch: bool, interval: float, **options: Any) -> None:
        if interval <= 0:
            raise CommandError("The interval must be a number of seconds above 0.")
        self._stop_requested = threading.Event()
        if watch:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stop_requested.set())
        wait_seconds = interval
        seal_at = time.monotonic()
        while not self._stop_requested.is_set():
            try:
                self._relay(grace=GRACE_PERIOD if watch else timedelta(), verbose=options["verbosity"] > 0)
                if watch and not self._stop_requested.is_set() and time.monotonic() >= seal_at:
                    self._seal()
                    seal_at = time.monotonic() + SEAL_SECONDS
                wait_seconds = interval
            except (events.ConsumerOutage, DatabaseError) as error:
                if not watch:
                    raise CommandError("A database cannot be reached; the events keep waiting.") from error
                if not (isinstance(error, events.ConsumerOutage) or is_outage(error)):
                    raise
                wait_seconds = min(wait_seconds * 2, MAX_WAIT_SECONDS)
                self.stderr.write(f"A database cannot be reached; trying again in {wait_seconds:.0f} s.")
                connections.close_all()
            if not watch:
                return
            self._stop_requested.wait(wait_seconds)

    def _seal(self) -> None:
        try:
            audit_services.make_months()
            audit_services.seal()
        except audit_services.TransactionStillOpen as error:
            self.stderr.write(str(error))
        except DatabaseError as error:
            if is_outage(error):
                raise
            # The cause may be a missing permission, for example. Deliveries must not wait until somebody corrects it.
            self.stderr.write(f"The audit log was not sealed: {type(error.__cause__ or error).__name__}.")

    def _relay(self, *, grace: timedelta, verbose: bool) -> None:
        delivered = failed = 0
        for _event, done in events.relay(grace=grace):
            delivered, failed = delivered + done, failed + (not done)
            if self._stop_requested.is_set():
                break
        if verbose and (delivered or failed):
            self.stdout.write(
                f"{delivered} delivered, {failed} failed and waiting for the next attempt or for a person."
            )
