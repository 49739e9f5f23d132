"""Models of accounts and of the refresh tokens that are in use."""

import secrets
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from healthcare.audit_log import recorder
from healthcare.routers import DEFAULT


class Role(models.TextChoices):
    """The role of an account; docs/api.md lists what each role may do."""

    PATIENT = "patient", _("patient")
    DOCTOR = "doctor", _("doctor")
    STAFF = "staff", _("staff")
    ADMIN = "admin", _("admin")


MAX_EMAIL_LENGTH = 254


def normalize_email(email: str) -> str:
    """Return the stored form of an e-mail address, in which case does not matter.

    The result may be longer than the input, because case folding turns "ß" into "ss".
    """
    return email.strip().casefold()


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=normalize_email(email), **fields)
        user.set_password(password)
        with transaction.atomic(using=DEFAULT):
            user.save(using=self._db)
            recorder.record("account.created", actor=None, subject=user.pk)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create an admin account, for `manage.py createsuperuser`."""
        return self.create_user(email, password, **{**fields, "role": Role.ADMIN})

    def get_by_natural_key(self, username: str | None) -> "User":
        return self.get(email=normalize_email(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """An account. Its role determines its rights: Django's staff and superuser flags are derived from the role."""

    email = models.EmailField(
        _("e-mail"),
        max_length=MAX_EMAIL_LENGTH,
        unique=True,
        error_messages={
            "unique": _("There is an account with this e-mail already."),
        },
    )
    name = models.CharField(_("name"), max_length=200, blank=True)
    role = models.CharField(_("role"), max_length=16, choices=Role)
    is_active = models.BooleanField(
        _("active"),
        default=True,
        help_text=_("Untick instead of deleting: a disabled account cannot log in and its tokens end at once."),
    )
    token_version = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = []

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
        ordering = ["id"]
        indexes = [
            models.Index(fields=["role", "id"], name="account_role"),
            models.Index(fields=["is_active", "id"], name="account_active"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="account_role_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.role} account {self.pk}"

    def clean(self) -> None:
        super().clean()
        self.email = normalize_email(self.email)
        if len(self.email) > MAX_EMAIL_LENGTH:
            raise ValidationError({"email": _("This address is too long.")})

    def set_password(self, raw_password: str | None) -> None:
        """Set the password and end every token and session. As in Django, the caller saves the account."""
        super().set_password(raw_password)
        self.end_tokens()

    def set_unusable_password(self) -> None:
        """Remove the password and end every token and session. As in Django, the caller saves the account."""
        super().set_unusable_password()
        self.end_tokens()

    def end_tokens(self) -> None:
        """Set a new token version. It is random, so that two concurrent changes do not set the same one."""
        self.token_version = secrets.randbelow(2**31)

    # Properties in place of the mixin's columns, which could contradict the role.
    @property
    def is_staff(self) -> bool:
        """Whether the account may enter the admin site, where groups and permissions decide what it sees."""
        return self.is_active and self.role in (Role.STAFF, Role.DOCTOR, Role.ADMIN)

    @property
    def is_superuser(self) -> bool:  # type: ignore[override]
        return self.is_active and self.role == Role.ADMIN

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Include the token version in the hash of sessions, so that they end when the tokens end."""
        return salted_hmac(
            "accounts.User.session",
            f"{self.password}:{self.token_version}",
            secret=secret,
            algorithm="sha256",
        ).hexdigest()


class TokenFamily(models.Model):
    """The refresh tokens that descend from one login, of which one is valid at any time.

    A refresh is a conditional update of `current_jti`. If an older token of the family is used, one of its two users
    has stolen it: the family ends, and with it its access tokens.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="token_families")
    current_jti = models.CharField(max_length=64)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        indexes = [models.Index(fields=["expires_at"], name="token_family_expires")]

    def __str__(self) -> str:
        return f"token family {self.pk}"
