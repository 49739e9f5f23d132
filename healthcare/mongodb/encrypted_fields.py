"""Model fields whose values MongoDB holds encrypted, when encryption is on (`healthcare.mongodb.encryption`).

Python sees text. Without a key configured the fields are plain ones, and values from before there was a key are read
as they are, until `manage.py encrypt_phi` has been through.
"""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldError
from django.db import models

from healthcare.mongodb import encryption, raw


@dataclass(frozen=True)
class Plain:
    """A text to be looked for as it is, in a collection whose values are not all encrypted yet.

    No `str`: it has to differ from the same text that is to be encrypted.
    """

    text: str


class EncryptedMixin(models.Field):
    """`is_deterministic`: equal values are stored equal, so that one can be looked for, and seen to be equal."""

    def __init__(self, *args: Any, is_deterministic: bool = False, **kwargs: Any) -> None:
        self.is_deterministic = is_deterministic
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        if self.is_deterministic:
            kwargs["is_deterministic"] = True
        return name, path, args, kwargs

    def get_lookup(self, lookup_name: str) -> Any:
        """Refuse what cannot be answered, instead of answering with nothing; with a key or without one."""
        known = {"isnull", "exact", "in"} if self.is_deterministic else {"isnull"}
        if lookup_name not in known:
            raise FieldError(f"{self.name} is encrypted: {lookup_name} cannot be asked of it.")
        return super().get_lookup(lookup_name)

    def get_transform(self, lookup_name: str) -> Any:
        return None

    def get_prep_value(self, value: Any) -> Any:
        return value if isinstance(value, Plain) else super().get_prep_value(value)

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, Plain):
            return value.text
        if value is None or not encryption.is_on() or encryption.is_encrypted(value):
            return value
        return encryption.encrypt(str(value), is_deterministic=self.is_deterministic)

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return self.get_db_prep_value(value, connection)

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return encryption.decrypt(value) if encryption.is_encrypted(value) else value


class EncryptedCharField(EncryptedMixin, models.CharField):
    pass


class EncryptedEmailField(EncryptedMixin, models.EmailField):
    pass


class EncryptedTextField(EncryptedMixin, models.TextField):
    pass


def encrypted_fields(model: type[models.Model]) -> dict[str, EncryptedMixin]:
    """By their names in the documents."""
    return {str(field.column): field for field in model._meta.concrete_fields if isinstance(field, EncryptedMixin)}


def spellings(model: type[models.Model], name: str, value: str) -> list[str | Plain]:
    """What to look for so as to find a value: encrypted, and plain as well while some are.

    The plain one goes no further than it must: the server logs slow queries. The field needs an index that begins
    with it.
    """
    if not encryption.is_on():
        return [value]
    plain_is_left = raw.collection(model).find_one({name: {"$type": "string"}}, projection=["_id"])
    return [value, Plain(value)] if plain_is_left else [value]


def encrypted_document(model: type[models.Model], document: raw.Document) -> raw.Document:
    """A document for the raw door, as the model's fields would store it."""
    if not encryption.is_on():
        return document
    stored = {
        name: encryption.encrypt(document[name], is_deterministic=field.is_deterministic)
        for name, field in encrypted_fields(model).items()
        if isinstance(document.get(name), str)
    }
    return {**document, **stored}
