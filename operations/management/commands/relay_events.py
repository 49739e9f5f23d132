"""Deliver the events that wait: what could not be told at once, because a database or a process was down.

While it watches it also seals the audit trail, about once a minute. Asked to stop (SIGTERM, Ctrl-C) it finishes the
event in hand.
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

LONGEST_PAUSE_SECONDS = 30
SEAL_SECONDS = 60.0
#: How long it leaves an event to the server that published it, which delivers it and gathers its notes of that.
GRACE = timedelta(seconds=1)


class Command(BaseCommand):
    help = (
        "Delivers the events that wait for a consumer, such as bills of completed visits. Ends when none is due; with "
        "--watch it goes on, and seals the audit trail every minute."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--watch", action="store_true", help="go on until it is stopped, through outages too")
        parser.add_argument("--interval", type=float, default=1.0, help="seconds between two looks (1)")

    def handle(self, *args: Any, watch: bool, interval: float, **options: Any) -> None:
        if interval <= 0:
            raise CommandError("The interval is a number of seconds above 0.")
        self._is_asked_to_stop = threading.Event()
        if watch:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._is_asked_to_stop.set())
        pause = interval
        seal_at = time.monotonic()
        while not self._is_asked_to_stop.is_set():
            try:
                self._relay(grace=GRACE if watch else timedelta(), verbose=options["verbosity"] > 0)
                if watch and not self._is_asked_to_stop.is_set() and time.monotonic() >= seal_at:
                    self._seal()
                    seal_at = time.monotonic() + SEAL_SECONDS
                pause = interval
            except (events.ConsumerOutage, DatabaseError) as error:
                if not watch:
                    raise CommandError("A database cannot be reached; the events keep waiting.") from error
                if not (isinstance(error, events.ConsumerOutage) or is_outage(error)):
                    raise
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                self.stderr.write(f"A database cannot be reached; trying again in {pause:.0f} s.")
                connections.close_all()
            if not watch:
                return
            self._is_asked_to_stop.wait(pause)

    def _seal(self) -> None:
        try:
            audit_services.make_months()
            audit_services.seal()
        except audit_services.TransactionStillOpen as reason:
            self.stderr.write(str(reason))
        except DatabaseError as error:
            if is_outage(error):
                raise
            # Such as a role that may not: bills are not to wait for it.
            self.stderr.write(f"The audit trail was not sealed: {type(error.__cause__ or error).__name__}.")

    def _relay(self, *, grace: timedelta, verbose: bool) -> None:
        delivered = failed = 0
        for _event, done in events.relay(grace=grace):
            delivered, failed = delivered + done, failed + (not done)
            if self._is_asked_to_stop.is_set():
                break
        if verbose and (delivered or failed):
            self.stdout.write(f"{delivered} delivered, {failed} failed and waiting for their next try or a person.")
