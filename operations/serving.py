"""The command line of the production server, for `make serve`, the benchmarks and tests with several processes."""

import sys

HOST = "127.0.0.1"


def production_server(port: int, *, workers: int) -> list[str]:
    """Return gunicorn's command line for a port on the loopback address. Run it in the folder of manage.py."""
    return [
        sys.executable, "-m", "gunicorn", "healthcare.wsgi", "--config", "python:healthcare.web.gunicorn_conf",
        "--bind", f"{HOST}:{port}", "--workers", str(workers),
    ]  # fmt: skip
