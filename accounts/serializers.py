"""Serializers of accounts, logins and tokens."""

from typing import Any

from django.core.validators import EmailValidator
from rest_framework import serializers

from accounts.models import MAX_EMAIL_LENGTH, Role, normalize_email
from accounts.passwords import MAX_LENGTH
from healthcare.api.fields import Boolean, Choice, Text
from healthcare.api.serializers import ChangesSerializer, OutSerializer, QuerySerializer, StrictSerializer


class Email(Text):
    """An e-mail address whose stored form fits its column too."""

    default_error_messages = {"long": f"Must have no more than {MAX_EMAIL_LENGTH} characters."}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=MAX_EMAIL_LENGTH, **kwargs)
        self.validators.append(EmailValidator(message="Must be an e-mail address."))

    def to_internal_value(self, data: Any) -> str:
        email = super().to_internal_value(data)
        if len(normalize_email(email)) > MAX_EMAIL_LENGTH:
            self.fail("long")
        return email


class Password(Text):
    """A password, of which white space is a part. The service validates its strength."""

    def __init__(self, **kwargs: Any) -> None:
        # More than the length rule allows, so that the rule gives the error; bounded, because passwords are hashed.
        super().__init__(max_length=MAX_LENGTH * 8, trim_whitespace=False, style={"input_type": "password"}, **kwargs)


class LoginIn(StrictSerializer):
    email = Text(max_length=254)
    password = Password()
    code = Text(
        max_length=32,
        required=False,
        allow_blank=True,
        help_text="The code of the authenticator app, or a recovery code, if the account has a second factor.",
    )


class CallbackQuery(QuerySerializer):
    """The query string of a provider's redirect. Other parameters are ignored, because providers may add some."""

    code = Text(max_length=2048, required=False)
    state = Text(max_length=256, required=False)
    error = Text(max_length=200, required=False)


class RefreshIn(StrictSerializer):
    refresh_token = Text(max_length=4096)


class LogoutIn(StrictSerializer):
    refresh_token = Text(
        max_length=4096, required=False, help_text="If absent, the session of the request's access token ends."
    )


class PasswordIn(StrictSerializer):
    current_password = Password()
    new_password = Password()


class TokensOut(OutSerializer):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.CharField(help_text="Bearer")
    expires_in = serializers.IntegerField(help_text="Seconds until the access token expires.")


class MeOut(OutSerializer):
    user_id = serializers.IntegerField(source="pk")
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=Role.choices)
    patient_id = serializers.CharField(allow_null=True, help_text="The patient record of this account.")
    doctor_id = serializers.CharField(allow_null=True, help_text="The doctor record of this account.")


class AccountIn(StrictSerializer):
    email = Email()
    password = Password()
    role = Choice(choices=Role.choices)
    name = Text(required=False, allow_blank=True)


class AccountChanges(ChangesSerializer):
    is_active = Boolean()
    role = Choice(choices=Role.choices)


class AccountQuery(QuerySerializer):
    role = Choice(choices=Role.choices, required=False)
    email = Text(max_length=254, required=False)
    is_active = Boolean(required=False)


class AccountOut(OutSerializer):
    resource = "account"
    id = serializers.IntegerField()
    email = serializers.EmailField()
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=Role.choices)
    is_active = serializers.BooleanField()
    created_at = serializers.DateTimeField()
