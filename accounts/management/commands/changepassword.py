"""Django's command `changepassword`, with an entry in the audit log."""

from typing import Any

from django.contrib.auth.management.commands import changepassword

from accounts.models import User
from healthcare.audit_log import recorder


class Command(changepassword.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        output = super().handle(*args, **options)
        account = User.objects.get_by_natural_key(options["username"])
        recorder.record("account.password_changed", actor=None, subject=account.pk)
        return output
