"""Login with Google and GitHub (OAuth 2.0).

allauth identifies the person (authorization code, PKCE, state). None of its pages is routed and it creates neither
sessions nor accounts: the callback answers with the same tokens as /auth/login (docs/api.md, "Authentication").
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
from allauth.socialaccount.providers.oauth2.views import OAuth2Adapter
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


class LoginNotConfirmed(InvalidValue):
    code = "provider_refused"

    def __init__(self) -> None:
        super().__init__("The provider did not confirm this login, or it was not begun here: begin again.")


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise OAuth2Error("The provider's answer cannot be read.") from error


class MalformedResponseMixin(OAuth2Adapter):
    """Mixin that turns a malformed response of a provider into an OAuth2Error, where allauth would fail with a 500."""

    def get_access_token_data(self, *args: Any, **kwargs: Any) -> Any:
        with _readable():
            return super().get_access_token_data(*args, **kwargs)

    def parse_token(self, data: object) -> Any:
        with _readable():
            return super().parse_token(data)

    def complete_login(self, *args: Any, **kwargs: Any) -> Any:
        with _readable():
            login = super().complete_login(*args, **kwargs)
        if login.account.uid in ("", "None"):
            # Without this check, all persons without an id would be the same person.
            raise OAuth2Error("The provider does not say who it is.")
        return login


class Google(MalformedResponseMixin, GoogleOAuth2Adapter):
    """Adapter for Google that verifies the signature of the ID token. allauth relies on TLS instead."""

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
        # Only an ID token names its audience: an access token may have been issued to another application.
        raise OAuth2Error("Google's answer holds no ID token.")


class GitHub(MalformedResponseMixin, GitHubOAuth2Adapter):
    """Adapter for GitHub, which has no ID tokens: the person is read with the access token of the exchanged code."""


class AccountAdapter(DefaultAccountAdapter):
    """allauth's ACCOUNT_ADAPTER."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


class SocialAdapter(DefaultSocialAccountAdapter):
    """allauth's SOCIALACCOUNT_ADAPTER: logs a person in after a provider has identified them."""

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> NoReturn:
        """Answer with tokens, before allauth would create a session and an account.

        Raises: ImmediateHttpResponse with the tokens, which is how an adapter of allauth answers; NotVerified,
        AccountExists; services.WrongCredentials for a disabled account, and for an account with a second factor,
        because this login cannot ask for the code.
        """
        # The session is not needed any more: it held only the state and the PKCE verifier of this login.
        request.session.flush()
        request.user = AnonymousUser()
        user = sociallogin.user if sociallogin.is_existing else _make_account(sociallogin)
        if second_factor.is_set_up(user):
            services.record_failed_login(user, "wrong_code")
            raise services.WrongCredentials
        raise ImmediateHttpResponse(JsonResponse(services.start_session(user), headers=NO_STORE))

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return False

    def on_authentication_error(self, *args: object, **kwargs: object) -> NoReturn:
        raise LoginNotConfirmed


def _make_account(sociallogin: SocialLogin) -> User:
    """Create the account and the patient record of a person who logs in for the first time.

    Raises: NotVerified, AccountExists, LoginNotConfirmed.
    """
    email = next((normalize_email(each.email) for each in _addresses(sociallogin) if each.verified), None)
    if email is None or not _is_email(email):
        raise NotVerified
    name = " ".join(str(sociallogin.account.extra_data.get("name") or "").split())[:MAX_NAME_LENGTH]
    if not name or not is_clean(name):
        name = email.partition("@")[0]
    # Only the id of the profile at the provider is stored.
    sociallogin.account.extra_data = {}
    try:
        with events.defer_delivery(), transaction.atomic(using="default"):
            user = records.sign_up(email=email, name=name)
            sociallogin.account.user = user
            sociallogin.account.save()
    except services.EmailTaken as error:
        raise AccountExists from error
    except IntegrityError as error:
        # A concurrent request of the same person has created the account.
        raise LoginNotConfirmed from error
    return user


def _addresses(sociallogin: SocialLogin) -> list[Any]:
    """Return the e-mail addresses of the profile, the primary one first."""
    return sorted(sociallogin.email_addresses, key=lambda each: not each.primary)


def _is_email(email: str) -> bool:
    try:
        validate_email(email)
    except ValidationError:
        return False
    return len(email) <= MAX_EMAIL_LENGTH
