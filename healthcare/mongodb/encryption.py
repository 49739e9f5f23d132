"""Field encryption: MongoDB's explicit client-side field level encryption.

A *data key* encrypts the values. Data keys are stored in the collection `phi_keys` beside the data, encrypted
("wrapped") by the *master key*, which never reaches the server. The master key is PHI_MASTER_KEY, or one in a key
management service that `settings.PHI_ENCRYPTION` names. Rotating the master key rewraps the data keys and leaves the
data unchanged.

A local master key is a KMS provider named after its own digest (`local:key_ab12…`), and each data key names the
provider that wraps it. A process with a wrong key, or without one, therefore fails at its start and says which key is
missing.
"""

import os
import threading
from dataclasses import dataclass
from typing import Any, cast

import pymongo
from bson import Binary
from bson.binary import STANDARD
from bson.codec_options import CodecOptions
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections
from pymongo import MongoClient
from pymongo.encryption import Algorithm, ClientEncryption
from pymongo.errors import DuplicateKeyError, EncryptionError, PyMongoError

from healthcare.mongodb.documents import Document
from healthcare.routers import CLINICAL

#: The collection of the data keys, the key vault.
DATA_KEYS = "phi_keys"
#: The alternative name of the data key for patients' data; a unique index keeps it the only one.
KEY_NAME = "patients"
ENCRYPTED_SUBTYPE = 6
#: How long the driver caches an unwrapped data key. A data key never changes; only its wrapping does.
KEY_EXPIRATION_MS = 3_600_000

_DETERMINISTIC = Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Deterministic
_RANDOM = Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Random


class KeyProblem(ImproperlyConfigured):
    """The master key is missing, or is not the one under which the data were encrypted."""


class Unreadable(OperationalError):
    """A value cannot be encrypted or decrypted: the data key is not available, or the value was tampered with."""


@dataclass
class _Cipher:
    """The driver's encryption client and the id of the data key, kept for the life of a process."""

    client: MongoClient[Document]
    encryption: ClientEncryption[Any]
    key_id: Binary


_ciphers: dict[tuple[int, str], _Cipher] = {}
_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: _forget_after_fork())


def is_on() -> bool:
    return settings.PHI_ENCRYPTION is not None


def configuration() -> dict[str, Any]:
    """Return the settings for the driver. Raises: Unreadable when encryption is off."""
    if settings.PHI_ENCRYPTION is None:
        raise Unreadable("PHI_MASTER_KEY is not set.")
    return settings.PHI_ENCRYPTION


def is_encrypted(value: object) -> bool:
    return isinstance(value, Binary) and value.subtype == ENCRYPTED_SUBTYPE


def encrypt(text: str, *, is_deterministic: bool) -> Binary:
    """Return the ciphertext of a text. If deterministic, equal texts have equal ciphertexts and can be found.

    Raises: Unreadable.
    """
    cipher = _cipher()
    try:
        return cipher.encryption.encrypt(text, _DETERMINISTIC if is_deterministic else _RANDOM, key_id=cipher.key_id)
    except PyMongoError as error:
        raise Unreadable("A value could not be encrypted.") from error


def decrypt(value: Binary) -> str:
    """Return the text of a ciphertext. Raises: Unreadable."""
    if not is_on():
        raise Unreadable("An encrypted value cannot be read without PHI_MASTER_KEY.")
    try:
        return _cipher().encryption.decrypt(value)
    except PyMongoError as error:
        raise Unreadable("A value could not be decrypted.") from error


def check(client: MongoClient[Document], database: str) -> None:
    """Check that the configured master key is the one that wraps the data keys; each process checks once.

    Raises: KeyProblem, saying what to do; OperationalError when no server answers.
    """
    try:
        with pymongo.timeout(5):
            keys = list(client[database][DATA_KEYS].find({}, {"masterKey.provider": 1, "keyAltNames": 1}))
    except PyMongoError as error:
        raise OperationalError("The data keys cannot be read.") from error
    wrapped_by = sorted({key["masterKey"]["provider"] for key in keys})
    if not is_on():
        if wrapped_by:
            message = f"The data are encrypted under {', '.join(wrapped_by)}, and PHI_MASTER_KEY is not set: set it."
            raise KeyProblem(message)
        return
    missing = [name for name in wrapped_by if name not in configuration()["kms_providers"]]
    if missing:
        message = (
            f"The data are encrypted under {', '.join(missing)}, and PHI_MASTER_KEY is "
            f"{configuration()['provider']}. Set the right key; after a change, the old one as "
            "PHI_MASTER_KEY_PREVIOUS until `manage.py rotate_phi_key` has run."
        )
        raise KeyProblem(message)
    if keys:
        _unwrap(client, database, keys)


def rewrap(*, is_dry_run: bool = False) -> int:
    """Wrap all data keys by the current master key; return how many had another wrapping. Raises: Unreadable."""
    client, database = _client(), _database()
    provider, master_key = configuration()["provider"], configuration()["master_key"]
    others: Document = {"masterKey.provider": {"$ne": provider}}
    number = client[database][DATA_KEYS].count_documents(others)
    if number and not is_dry_run:
        with _client_encryption(client, database) as client_encryption:
            try:
                client_encryption.rewrap_many_data_key(others, provider=provider, master_key=master_key)
            except PyMongoError as error:
                raise Unreadable("The data keys could not be rewrapped; they are as they were.") from error
    return number


def forget() -> None:
    """Drop the cached data key; the next use reads it again."""
    with _lock:
        _ciphers.clear()


def _cipher() -> _Cipher:
    client, database = _client(), _database()
    found = _ciphers.get((os.getpid(), database))
    if found is None or found.client is not client:
        with _lock:
            found = _ciphers.get((os.getpid(), database))
            if found is None or found.client is not client:
                client_encryption = _client_encryption(client, database)
                found = _Cipher(client, client_encryption, _data_key(client_encryption, client, database))
                _ciphers[os.getpid(), database] = found
    return found


def _data_key(client_encryption: ClientEncryption[Any], client: MongoClient[Document], database: str) -> Binary:
    """Return the id of the data key, created if there is none. Processes that create it at once get the same id."""
    keys = client[database][DATA_KEYS]
    try:
        # Do not read the key in the open transaction or by `get_key_by_alt_name`, because it must outlive a rollback.
        found = keys.find_one({"keyAltNames": KEY_NAME}, {"_id": 1})
        if found is None:
            keys.create_index("keyAltNames", unique=True, partialFilterExpression={"keyAltNames": {"$exists": True}})
            try:
                return client_encryption.create_data_key(
                    configuration()["provider"],
                    master_key=configuration()["master_key"],
                    key_alt_names=[KEY_NAME],
                )
            except (DuplicateKeyError, EncryptionError) as error:
                if not isinstance(error, DuplicateKeyError) and not isinstance(error.__cause__, DuplicateKeyError):
                    raise
                found = keys.find_one({"keyAltNames": KEY_NAME}, {"_id": 1})
    except PyMongoError as error:
        raise Unreadable("The data key cannot be read.") from error
    if found is None:
        raise Unreadable("The data key was deleted while it was read.")
    return found["_id"]


def _unwrap(client: MongoClient[Document], database: str, keys: list[Document]) -> None:
    """Unwrap each data key, because the provider's name alone does not prove that the master key is the right one."""
    with _client_encryption(client, database) as client_encryption:
        for key in keys:
            try:
                client_encryption.encrypt("", _RANDOM, key_id=key["_id"])
            except EncryptionError as error:
                if isinstance(error.__cause__, PyMongoError):
                    raise OperationalError("The data keys cannot be read.") from error
                raise KeyProblem(
                    "A data key cannot be unwrapped with PHI_MASTER_KEY: it is not the right one."
                ) from error


def _client_encryption(client: MongoClient[Document], database: str) -> ClientEncryption[Any]:
    return ClientEncryption(
        configuration()["kms_providers"],
        f"{database}.{DATA_KEYS}",
        client,
        CodecOptions(uuid_representation=STANDARD),
        key_expiration_ms=KEY_EXPIRATION_MS,
    )


def _client() -> MongoClient[Document]:
    connection = connections[CLINICAL]
    connection.ensure_connection()
    return cast(MongoClient[Document], connection.connection)


def _database() -> str:
    return connections[CLINICAL].settings_dict["NAME"]


def _forget_after_fork() -> None:
    """Drop the parent's encryption client, because a forked child needs one of its own, on its own client."""
    global _lock
    _lock = threading.Lock()
    _ciphers.clear()
