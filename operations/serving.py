"""The production server's command line: `make serve` runs it, and the tests that need several processes."""

import sys

HOST = "127.0.0.1"


def production_server(port: int, *, workers: int) -> list[str]:
    """gunicorn on loopback; to be run in the folder of manage.py."""
    return [
        sys.executable, "-m", "gunicorn", "healthcare.wsgi", "--config", "python:healthcare.web.gunicorn_conf",
        "--bind", f"{HOST}:{port}", "--workers", str(workers),
    ]  # fmt: skip
