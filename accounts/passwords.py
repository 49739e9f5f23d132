"""The length rule for passwords (docs/security.md; NIST SP 800-63B, section 5.1.1)."""

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

MIN_LENGTH = 12
MAX_LENGTH = 128


class LengthValidator:
    """Validator of a length from 12 to 128 characters. The upper bound limits the processor time of hashing."""

    def validate(self, password: str, user: object = None) -> None:
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise ValidationError(self.get_help_text(), code="password_length")

    def get_help_text(self) -> str:
        return _("The password must have from %(min)d to %(max)d characters.") % {
            "min": MIN_LENGTH,
            "max": MAX_LENGTH,
        }
