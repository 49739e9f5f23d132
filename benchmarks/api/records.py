"""Prepares the databases for `python -m benchmarks.api`: migrations, records and an admin account.

This is a separate process because Django's settings read the databases' addresses once. One process does all three
steps because each process takes a second to start.
"""

import os
import sys

ADMIN = {"email": "bench-admin@example.org", "password": "an uncommon phrase"}  # pragma: allowlist secret


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "healthcare.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from accounts.models import Role, User

    for database in settings.DATABASES:
        call_command("migrate", database=database, verbosity=0, interactive=False)
    call_command("seed", patients=int(sys.argv[1]), if_empty=True)
    if not User.objects.filter(email=ADMIN["email"]).exists():
        User.objects.create_user(**ADMIN, role=Role.ADMIN)


if __name__ == "__main__":
    main()
