"""Browser sessions: login for the browsable API, the end of idle and old sessions, and audit entries of both.

The admin site has its own login page. Entries are written by receivers of Django's signals, which cover both.
"""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.forms import SessionLoginForm
from accounts.models import User, normalize_email
from accounts.services import record_failed_login
from healthcare.audit_log import recorder
from healthcare.web.rate_limits import with_wait

#: Session key of the time of the last request, which is updated once a minute because each update writes the session.
LAST_USED_KEY = "seen_at"
LAST_USED_STEP_SECONDS = 60
#: Session key of the time of the login, because Django computes the age of a session from its last write.
LOGGED_IN_KEY = "begun_at"


def user_of(request: HttpRequest) -> User:
    """Return the account of a session. Raises: PermissionDenied if nobody is logged in."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


class IdleSessionMiddleware:
    """Middleware that ends a session SESSION_IDLE_SECONDS after its last request, or SESSION_SECONDS after login."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Requests without the cookie, such as those of programs, read no session. A token beside the cookie makes no
        # difference, because pages do not read it.
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            self._check(request)
        return self.get_response(request)

    @staticmethod
    def _check(request: HttpRequest) -> None:
        seen_at, now = request.session.get(LAST_USED_KEY), time.time()
        if seen_at is None:
            return
        is_unused = now - seen_at > settings.SESSION_IDLE_SECONDS
        if is_unused or now - request.session.get(LOGGED_IN_KEY, seen_at) > settings.SESSION_COOKIE_AGE:
            logout(request)
        elif now - seen_at > LAST_USED_STEP_SECONDS:
            request.session[LAST_USED_KEY] = now


class SessionLoginView(LoginView):
    """Login page of the browsable API."""

    template_name = "rest_framework/login.html"
    authentication_form = SessionLoginForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return with_wait(request, super().dispatch(request, *args, **kwargs))


@receiver(user_logged_in)
def _logged_in(user: User, request: HttpRequest, **_: object) -> None:
    request.session[LAST_USED_KEY] = request.session[LOGGED_IN_KEY] = time.time()
    recorder.record("account.logged_in", actor=user, subject=user.pk)


@receiver(user_logged_out)
def _logged_out(user: User | None, **_: object) -> None:
    if user is not None:
        recorder.record("account.logged_out", actor=user, subject=user.pk)


@receiver(user_login_failed)
def _login_failed(credentials: dict[str, Any], **_: object) -> None:
    email = normalize_email(str(credentials.get("username", "")))
    record_failed_login(User.objects.filter(email=email).first(), "wrong_credentials")
