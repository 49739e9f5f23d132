"""Browser sessions: logging in for the browsable API, ending what nobody uses or is too old, telling the audit trail.

The admin has pages of its own for the first; Django's signals are the one place that hears of both.
"""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.auth.views import LoginView
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.forms import SessionLoginForm
from accounts.models import User, normalize_email
from accounts.services import record_failed_login
from healthcare.audit_log import recorder
from healthcare.web.rate_limits import with_wait

#: Where a session keeps when it was last used, to the minute: writing it with each request would cost a write each.
SEEN = "seen_at"
SEEN_STEP_SECONDS = 60
#: Where a session keeps when somebody logged in: Django counts its age from the last time that it was written.
BEGUN = "begun_at"


class IdleSessionMiddleware:
    """Log out a browser that nobody has used for SESSION_IDLE_SECONDS: people walk away from screens in wards.

    And one whose log-in is SESSION_SECONDS ago, however busy it was since.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # Programs send no cookie: nothing is read for them. (A token beside the cookie excuses nothing: pages do not
        # look at it.)
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            self._look_at(request)
        return self.get_response(request)

    @staticmethod
    def _look_at(request: HttpRequest) -> None:
        seen_at, now = request.session.get(SEEN), time.time()
        if seen_at is None:
            return
        is_unused = now - seen_at > settings.SESSION_IDLE_SECONDS
        if is_unused or now - request.session.get(BEGUN, seen_at) > settings.SESSION_COOKIE_AGE:
            logout(request)
        elif now - seen_at > SEEN_STEP_SECONDS:
            request.session[SEEN] = now


class SessionLoginView(LoginView):
    """Log in with a browser, for the browsable API."""

    template_name = "rest_framework/login.html"
    authentication_form = SessionLoginForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return with_wait(request, super().dispatch(request, *args, **kwargs))


@receiver(user_logged_in)
def _logged_in(user: User, request: HttpRequest, **_: Any) -> None:
    request.session[SEEN] = request.session[BEGUN] = time.time()
    recorder.record("account.logged_in", actor=user, subject=user.pk)


@receiver(user_logged_out)
def _logged_out(user: User | None, **_: Any) -> None:
    if user is not None:
        recorder.record("account.logged_out", actor=user, subject=user.pk)


@receiver(user_login_failed)
def _login_failed(credentials: dict[str, Any], **_: Any) -> None:
    email = normalize_email(str(credentials.get("username", "")))
    record_failed_login(User.objects.filter(email=email).first(), "wrong_credentials")
