"""Forms for logging in with a browser, to the admin and the browsable API, and for changing one's own password.

Rate limits, one-time codes and audit entries are the same as those of the API at /auth.
"""

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.forms import AdminOwnPasswordChangeForm
from unfold.widgets import BASE_INPUT_CLASSES, UnfoldAdminTextInputWidget

from accounts import limits, second_factor
from accounts.models import User
from accounts.services import record_failed_login, set_password
from healthcare import audit_context
from healthcare.web.rate_limits import TooManyAttempts, require_wait


class CodeForm(AuthenticationForm):
    """Django's log-in form, with rate limits and a field for a one-time code."""

    request: HttpRequest
    code = forms.CharField(
        label=_("One-time code"),
        required=False,
        max_length=32,
        help_text=_("Only if you have set up a second factor."),
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )

    def clean(self) -> dict[str, Any]:
        email = self.cleaned_data.get("username")
        if not email or not self.cleaned_data.get("password"):
            return self.cleaned_data
        try:
            with limits.login(self.request, email):
                super().clean()
                self._check_code()
        except TooManyAttempts as error:
            record_failed_login(None, error.code)
            require_wait(self.request, error)
            raise ValidationError(error.detail, code=error.code) from error
        return self.cleaned_data

    def _check_code(self) -> None:
        user = self.get_user()
        if not second_factor.accepts(user, self.cleaned_data.get("code", "")):
            record_failed_login(user, "wrong_code")
            raise self.get_invalid_login_error()


class SessionLoginForm(CodeForm):
    """The log-in form of the browsable API."""


class AdminLoginForm(CodeForm, AdminAuthenticationForm):
    """The log-in form of the admin, which admits staff, doctors and admins."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["class"] = " ".join(BASE_INPUT_CLASSES)

    def confirm_login_allowed(self, user: Any) -> None:
        try:
            super().confirm_login_allowed(user)
        except ValidationError:
            # The password was right, so Django sends no signal about a failed log-in.
            record_failed_login(user, "not_admitted")
            raise


class OwnPasswordForm(AdminOwnPasswordChangeForm):
    """The form with which users of the admin change their own password."""

    user: User

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        self.request = request
        super().__init__(*args, **kwargs)

    def clean_old_password(self) -> str:
        try:
            limits.password_change(self.user)
        except TooManyAttempts as error:
            require_wait(self.request, error)
            audit_context.mark_refused(error.code)
            raise ValidationError(error.detail, code=error.code) from error
        try:
            return super().clean_old_password()
        except ValidationError:
            audit_context.mark_refused("wrong_password")
            raise

    def save(self, commit: bool = True) -> User:
        set_password(actor=self.user, user=self.user, password=self.cleaned_data["new_password1"])
        return self.user


class SecondFactorForm(forms.Form):
    code = forms.CharField(
        label=_("Code"),
        max_length=32,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )
