#!/usr/bin/env python
"""Command line of the system; `manage.py help` lists the commands."""

import os
import secrets
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcare.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError as error:
        raise SystemExit(
            f"{error}. Run `make run` once, which makes .venv and installs the requirements; "
            "then use .venv/bin/python manage.py."
        ) from error
    from healthcare import audit_context

    # The audit log records a command's access to patient data under the command's name.
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    with audit_context.audit_context(
        channel="command", request_id=audit_context.as_id(f"{command}-{secrets.token_hex(8)}")
    ):
        try:
            execute_from_command_line(sys.argv)
        except ImproperlyConfigured as error:
            raise SystemExit(f"The settings are invalid: {error}") from error


if __name__ == "__main__":
    main()
