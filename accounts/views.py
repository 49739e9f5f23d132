"""Views of /auth and /accounts."""

from typing import Any, NoReturn

from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django.conf import settings
from django.http.response import HttpResponseBase
from rest_framework.exceptions import AuthenticationFailed, NotAuthenticated, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.tokens import Token

from accounts import limits, oauth, permissions, queries, records, services, tokens
from accounts.authentication import AccountRequest
from accounts.serializers import (
    AccountChanges,
    AccountIn,
    AccountOut,
    AccountQuery,
    CallbackQuery,
    LoginIn,
    LogoutIn,
    MeOut,
    PasswordIn,
    RefreshIn,
    TokensOut,
)
from healthcare.api.views import ResourceViewSet
from healthcare.errors import NotVisible

NO_STORE = {"Cache-Control": "no-store"}


class AuthViewSet(ResourceViewSet):
    """Login, logout and passwords. Registration belongs to the app `patients`, because it creates a patient."""

    resource = "account"
    action_names = {
        "login": "logged_in", "refresh": "refreshed", "logout": "logged_out", "me": "viewed",
        "password": "password_changed",  # pragma: allowlist secret
    }  # fmt: skip
    allowed = permissions.AUTH
    pagination_class = None
    request_serializers = {"login": LoginIn, "refresh": RefreshIn, "logout": LogoutIn, "password": PasswordIn}
    response_serializers = {"login": TokensOut, "refresh": TokensOut, "me": MeOut}
    empty_responses = frozenset({"logout", "password"})
    extra_statuses = {"login": ("401", "429"), "refresh": ("401", "429"), "logout": ("401",), "password": ("429",)}

    def login(self, request: Request) -> Response:
        """Exchange e-mail and password for tokens."""
        given = LoginIn.parse(request)
        try:
            with limits.login(request, given["email"]):
                pair = services.log_in(**given)
        except services.WrongCredentials:
            self._reject("There is no active account with this e-mail and password.")
        return Response(pair, headers=NO_STORE)

    def refresh(self, request: Request) -> Response:
        """Exchange a refresh token for a new pair; the old one becomes invalid."""
        limits.refresh(request)
        try:
            pair = tokens.rotate(RefreshIn.parse(request)["refresh_token"])
        except tokens.TokenRejected:
            self._reject("The refresh token is not valid: log in again.")
        return Response(pair, headers=NO_STORE)

    def logout(self, request: Request) -> Response:
        """End the session of a refresh token, including its access tokens."""
        actor = request.user if request.user.is_authenticated else None
        given = LogoutIn.parse(request)
        try:
            if "refresh_token" in given:
                services.log_out(actor=actor, **given)
            elif actor is not None and isinstance(request.auth, Token):
                services.end_session(actor=actor, family_id=request.auth[tokens.FAMILY_CLAIM])
            elif actor is None:
                raise NotAuthenticated
            else:
                # The session of a browser has no tokens.
                raise ValidationError({"refresh_token": ["This field is required."]}, code="required")
        except tokens.TokenRejected:
            self._reject("The refresh token is not valid.")
        return Response(status=204)

    def me(self, request: AccountRequest) -> Response:
        """Return the account of the request, and the ids of its records."""
        return Response(me(request.user))

    def password(self, request: AccountRequest) -> Response:
        """Change the password, which ends every token and session of the account."""
        given = PasswordIn.parse(request)
        limits.password_change(request.user)
        services.change_password(actor=request.user, **given)
        return Response(status=204)

    def _reject(self, sentence: str) -> NoReturn:
        error = AuthenticationFailed(sentence)
        # DRF sets WWW-Authenticate only on errors that its authenticators raise.
        error.auth_header = self.get_authenticate_header(self.request)  # type: ignore[attr-defined]
        raise error


class ProviderViewSet(ResourceViewSet):
    """Login with a provider."""

    resource = "account"
    action_names = {"begin": "sent_to_provider", "callback": "logged_in"}
    allowed = permissions.PROVIDERS
    pagination_class = None
    response_serializers = {"callback": TokensOut}
    query_serializers = {"callback": CallbackQuery}
    redirect_responses = frozenset({"begin"})
    extra_statuses = {"begin": ("404", "429"), "callback": ("401", "403", "404", "409", "429")}

    def adapter(self) -> Any:
        """Return the class of the provider's adapter."""
        raise NotImplementedError

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if not settings.SOCIALACCOUNT_PROVIDERS[self.adapter().provider_id]["APPS"]:
            raise NotVisible
        limits.provider_login(request)

    def begin(self, request: Request) -> HttpResponseBase:
        """Redirect the browser to the provider."""
        return OAuth2LoginView.adapter_view(self.adapter())(request._request)

    def callback(self, request: Request) -> HttpResponseBase:
        """Receive the provider's redirect, and return the same tokens as a login."""
        try:
            return OAuth2CallbackView.adapter_view(self.adapter())(request._request)
        except services.WrongCredentials as error:
            raise AuthenticationFailed("There is no active account for this login.") from error


class GoogleViewSet(ProviderViewSet):
    """Login with Google."""

    def adapter(self) -> Any:
        return oauth.Google


class GitHubViewSet(ProviderViewSet):
    """Login with GitHub."""

    def adapter(self) -> Any:
        return oauth.GitHub


class AccountViewSet(ResourceViewSet):
    """Accounts. Admins create those of doctors, staff and other admins."""

    resource = "account"
    lookup_url_kwarg = "account_id"
    lookup_value_converter = "int"
    allowed = permissions.ACCOUNTS
    request_serializers = {"create": AccountIn, "partial_update": AccountChanges}
    response_serializer = AccountOut
    query_serializers = {"list": AccountQuery}

    def list(self, request: AccountRequest) -> Response:
        return self.page(queries.matching(request.user, **AccountQuery.parse_query(request)))

    def create(self, request: AccountRequest) -> Response:
        account = services.create_account(actor=request.user, **AccountIn.parse(request))
        return Response(AccountOut.of(account), status=201)

    def retrieve(self, request: AccountRequest, account_id: int) -> Response:
        return Response(AccountOut.of(queries.get_visible(request.user, account_id)))

    def partial_update(self, request: AccountRequest, account_id: int) -> Response:
        account = services.change_account(actor=request.user, user_id=account_id, **AccountChanges.parse(request))
        return Response(AccountOut.of(account))


def me(user: Any) -> dict[str, Any]:
    """Return the response of `me` and `register`."""
    return MeOut.of({"pk": user.pk, "email": user.email, "role": user.role, **records.record_ids_of(user)})
