"""Browser sessions in the audit trail. Django's own log-in and log-out pages have no other place to tell it."""

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver

from accounts.models import User, normalize_email
from accounts.services import record_failed_login
from healthcare import audit


@receiver(user_logged_in)
def _logged_in(user: User, **_: Any) -> None:
    audit.record("account.logged_in", actor=user, subject=user.pk)


@receiver(user_logged_out)
def _logged_out(user: User | None, **_: Any) -> None:
    if user is not None:
        audit.record("account.logged_out", actor=user, subject=user.pk)


@receiver(user_login_failed)
def _login_failed(credentials: dict[str, Any], **_: Any) -> None:
    email = normalize_email(str(credentials.get("username", "")))
    record_failed_login(User.objects.filter(email=email).first(), "wrong_credentials")
