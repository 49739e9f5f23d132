"""Commands that have started servers: however they are asked to end, they clean up first, and to the end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heed() -> None:
    """Answer a polite request to end, and a terminal that is closed, as Ctrl-C is."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)


@contextmanager
def ignored() -> Iterator[None]:
    """Be deaf to them meanwhile."""
    before = [signal.signal(number, signal.SIG_IGN) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
