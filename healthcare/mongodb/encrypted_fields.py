"""Model fields whose values MongoDB stores encrypted, if encryption is on (`healthcare.mongodb.encryption`).

Python sees text. Without a configured key the fields store plain text. Values that were stored before there was a key
are read as they are until `manage.py encrypt_phi` has encrypted them.
"""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldError
from django.db import models

from healthcare.mongodb import encryption, raw


@dataclass(frozen=True)
class Plain:
    """A text to search for unencrypted, in a collection whose values are not all encrypted yet.

    The class is not a `str`, because it must differ from the same text that is to be encrypted.
    """

    text: str


class EncryptedMixin(models.Field):
    """A field that encrypts its value.

    `is_deterministic`: equal values have equal ciphertexts, so that a value can be searched for and be unique.
    """

    def __init__(self, *args: Any, is_deterministic: bool = False, **kwargs: Any) -> None:
        self.is_deterministic = is_deterministic
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        if self.is_deterministic:
            kwargs["is_deterministic"] = True
        return name, path, args, kwargs

    def get_lookup(self, lookup_name: str) -> Any:
        """Raise FieldError for a lookup that ciphertexts cannot answer, instead of finding nothing."""
        supported = {"isnull", "exact", "in"} if self.is_deterministic else {"isnull"}
        if lookup_name not in supported:
            raise FieldError(f"{self.name} is encrypted and has no lookup {lookup_name}.")
        return super().get_lookup(lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        return None

    def get_prep_value(self, value: object) -> Any:
        return value if isinstance(value, Plain) else super().get_prep_value(value)

    def get_db_prep_value(self, value: object, connection: object, prepared: bool = False) -> Any:
        if isinstance(value, Plain):
            return value.text
        if value is None or not encryption.is_on() or encryption.is_encrypted(value):
            return value
        return encryption.encrypt(str(value), is_deterministic=self.is_deterministic)

    def get_db_prep_save(self, value: object, connection: object) -> Any:
        return self.get_db_prep_value(value, connection)

    def from_db_value(self, value: Any, expression: object, connection: object) -> Any:
        return encryption.decrypt(value) if encryption.is_encrypted(value) else value


class EncryptedCharField(EncryptedMixin, models.CharField):
    pass


class EncryptedEmailField(EncryptedMixin, models.EmailField):
    pass


class EncryptedTextField(EncryptedMixin, models.TextField):
    pass


def encrypted_fields(model: type[models.Model]) -> dict[str, EncryptedMixin]:
    """Return the encrypted fields of a model by their names in the documents."""
    return {str(field.column): field for field in model._meta.concrete_fields if isinstance(field, EncryptedMixin)}


def stored_forms(model: type[models.Model], name: str, value: str) -> list[str | Plain]:
    """Return the values to search for: the encrypted one, and the plain one while plain ones are stored.

    The plain value is sent only if it must be, because the server logs slow queries. The field needs an index that
    begins with it.
    """
    if not encryption.is_on():
        return [value]
    has_plain_values = raw.collection(model).find_one({name: {"$type": "string"}}, projection=["_id"])
    return [value, Plain(value)] if has_plain_values else [value]


def encrypted_document(model: type[models.Model], document: raw.Document) -> raw.Document:
    """Return a document for `raw` with its values encrypted, as the model's fields would store it."""
    if not encryption.is_on():
        return document
    stored = {
        name: encryption.encrypt(document[name], is_deterministic=field.is_deterministic)
        for name, field in encrypted_fields(model).items()
        if isinstance(document.get(name), str)
    }
    return {**document, **stored}
