"""The production server's command line: `make serve` runs it, and the tests that need several processes."""

import os
import sys

HOST = "127.0.0.1"


def production_server(port: int, *, workers: int) -> list[str]:
    """gunicorn on loopback; to be run in the folder of manage.py."""
    return [
        sys.executable, "-m", "gunicorn", "healthcare.wsgi",
        "--bind", f"{HOST}:{port}", "--workers", str(workers), "--worker-class", "gthread", "--threads", "4",
        # Its control socket lies in a folder that two checkouts would share.
        "--no-control-socket", "--access-logfile", os.devnull,
    ]  # fmt: skip
