"""Signal handling for commands that have started servers and must stop them, however the command is ended."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def install_handlers() -> None:
    """Raise KeyboardInterrupt for SIGTERM and SIGHUP too, so that each of these signals runs the same clean-up."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignore the signals during the block, so that a clean-up is not interrupted."""
    before = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
