"""Logging in with Google and GitHub. allauth proves who somebody is there (code, PKCE, state); the rest is ours.

None of allauth's pages is routed and nobody gets a session: the callback answers what /auth/login answers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.internal import jwtkit
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from allauth.socialaccount.providers.google.views import GoogleOAuth2Adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.http import HttpRequest, JsonResponse

from accounts import records, second_factor, services
from accounts.models import MAX_EMAIL_LENGTH, User, normalize_email
from healthcare.api.fields import is_clean
from healthcare.errors import Conflict, InvalidValue, NotAllowed
from healthcare.outbox import events

NO_STORE = {"Cache-Control": "no-store"}
MAX_NAME_LENGTH = 200


class NotVerified(NotAllowed):
    code = "email_not_verified"

    def __init__(self) -> None:
        super().__init__("The provider has not verified an e-mail address of yours.")


class AccountExists(Conflict):
    code = "account_exists"

    def __init__(self) -> None:
        super().__init__("There is an account with this e-mail already: log in with its password.")


class ProviderRefused(InvalidValue):
    code = "provider_refused"

    def __init__(self) -> None:
        super().__init__("The provider did not confirm this login, or it was not begun here: begin again.")


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OAuth2Error("The provider's answer cannot be read.") from error


class UnusableAnswerMixin:
    """What a provider answers is checked as little as anybody's: an answer of another shape is a refusal, not a 500."""

    def get_access_token_data(self, *args: Any, **kwargs: Any) -> Any:
        with _readable():
            return super().get_access_token_data(*args, **kwargs)  # type: ignore[misc]

    def parse_token(self, data: Any) -> Any:
        with _readable():
            return super().parse_token(data)  # type: ignore[misc]

    def complete_login(self, *args: Any, **kwargs: Any) -> Any:
        with _readable():
            login = super().complete_login(*args, **kwargs)  # type: ignore[misc]
        if login.account.uid in ("", "None"):
            # Everybody whom the provider has no number for would be the same person.
            raise OAuth2Error("The provider does not say who it is.")
        return login


class Google(UnusableAnswerMixin, GoogleOAuth2Adapter):
    """Checks the ID token's signature, too, which allauth leaves to TLS when the token came from Google directly."""

    keys_url = "https://www.googleapis.com/oauth2/v3/certs"

    def _decode_id_token(self, app: Any, id_token: str) -> dict[str, Any]:
        return jwtkit.verify_and_decode(
            credential=id_token,
            keys_url=self.keys_url,
            issuer=self.id_token_issuer,
            audience=app.client_id,
            lookup_kid=jwtkit.lookup_kid_jwk,
            verify_signature=True,
        )

    def _fetch_user_info(self, access_token: str) -> NoReturn:
        # Only an ID token is addressed to us: an access token may have been meant for another application.
        raise OAuth2Error("Google's answer holds no ID token.")


class GitHub(UnusableAnswerMixin, GitHubOAuth2Adapter):
    """GitHub has no ID tokens: who somebody is, is asked with the access token that the code was exchanged for."""


class AccountAdapter(DefaultAccountAdapter):
    """allauth's ACCOUNT_ADAPTER."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


class SocialAdapter(DefaultSocialAccountAdapter):
    """allauth's SOCIALACCOUNT_ADAPTER: what follows when a provider has said who somebody is."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> NoReturn:
        """End every login here, before allauth would make sessions and accounts of its own.

        Raises: NotVerified, AccountExists; services.WrongCredentials for a disabled account, and for one with a second
        factor: nobody asks for its code here.
        """
        # It held the state and the verifier of this one login.
        request.session.flush()
        request.user = AnonymousUser()
        user = sociallogin.user if sociallogin.is_existing else _make_account(sociallogin)
        if second_factor.is_set_up(user):
            services.record_failed_login(user, "wrong_code")
            raise services.WrongCredentials
        raise ImmediateHttpResponse(JsonResponse(services.start_session(user), headers=NO_STORE))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def on_authentication_error(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ProviderRefused


def _make_account(sociallogin: SocialLogin) -> User:
    """A patient's account and record for somebody who comes for the first time."""
    email = next((normalize_email(each.email) for each in _addresses(sociallogin) if each.verified), None)
    if email is None or not _is_email(email):
        raise NotVerified
    name = " ".join(str(sociallogin.account.extra_data.get("name") or "").split())[:MAX_NAME_LENGTH]
    if not name or not is_clean(name):
        name = email.partition("@")[0]
    # Nothing of the profile is kept but the provider's number for it.
    sociallogin.account.extra_data = {}
    try:
        with events.defer_delivery(), transaction.atomic(using="default"):
            user = records.make_newcomer(email=email, name=name)
            sociallogin.account.user = user
            sociallogin.account.save()
    except services.EmailTaken as error:
        raise AccountExists from error
    except IntegrityError as error:
        # The same person's other click was quicker.
        raise ProviderRefused from error
    return user


def _addresses(sociallogin: SocialLogin) -> list[Any]:
    """The provider's addresses, the primary one first."""
    return sorted(sociallogin.email_addresses, key=lambda each: not each.primary)


def _is_email(email: str) -> bool:
    try:
        validate_email(email)
    except ValidationError:
        return False
    return len(email) <= MAX_EMAIL_LENGTH
