"""Field encryption: MongoDB's client-side field level encryption, done explicitly by the driver.

A value is encrypted with a *data key*, which lies in the collection `phi_keys` beside the data, itself encrypted
("wrapped") by the *master key*, which never reaches the server: PHI_MASTER_KEY, or a key management service that
`settings.PHI_ENCRYPTION` names. Rotating the master key rewraps the data keys; the data stay as they are.

A local master key is a KMS provider named after its own digest (`local:key_ab12…`), and each data key says which
provider wraps it. So a process with the wrong key, or without one, is told at its start which key is missing.
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

from healthcare.routers import CLINICAL

#: The key vault.
DATA_KEYS = "phi_keys"
#: The alternative name by which the data key of patients' data is found; a unique index keeps it the only one.
KEY_NAME = "patients"
ENCRYPTED_SUBTYPE = 6
#: How long the driver keeps an unwrapped data key. They do not change; their wrapping does.
KEY_EXPIRATION_MS = 3_600_000

_DETERMINISTIC = Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Deterministic
_RANDOM = Algorithm.AEAD_AES_256_CBC_HMAC_SHA_512_Random


class KeyProblem(ImproperlyConfigured):
    """The master key is missing, or is another one than the data were encrypted under."""


class Unreadable(OperationalError):
    """A value cannot be encrypted or decrypted now: the data key is not to be had, or the value was tampered with."""


@dataclass
class _Cipher:
    """What a process keeps: the driver's machine, and the id of the data key."""

    client: MongoClient[dict[str, Any]]
    machine: ClientEncryption[Any]
    key_id: Binary


_ciphers: dict[tuple[int, str], _Cipher] = {}
_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: _forget_after_fork())


def is_on() -> bool:
    return settings.PHI_ENCRYPTION is not None


def configuration() -> dict[str, Any]:
    """What the driver takes. Raises: Unreadable when encryption is off."""
    if settings.PHI_ENCRYPTION is None:
        raise Unreadable("PHI_MASTER_KEY is not set.")
    return settings.PHI_ENCRYPTION


def is_encrypted(value: Any) -> bool:
    return isinstance(value, Binary) and value.subtype == ENCRYPTED_SUBTYPE


def encrypt(text: str, *, is_deterministic: bool) -> Binary:
    """The value as it is stored. Deterministic: equal texts give equal values, so that one can be looked for.

    Raises: Unreadable.
    """
    cipher = _cipher()
    try:
        return cipher.machine.encrypt(text, _DETERMINISTIC if is_deterministic else _RANDOM, key_id=cipher.key_id)
    except PyMongoError as error:
        raise Unreadable("A value could not be encrypted.") from error


def decrypt(value: Binary) -> str:
    """Raises: Unreadable."""
    if not is_on():
        raise Unreadable("An encrypted value cannot be read without PHI_MASTER_KEY.")
    try:
        return _cipher().machine.decrypt(value)
    except PyMongoError as error:
        raise Unreadable("A value could not be decrypted.") from error


def check(client: MongoClient[dict[str, Any]], database: str) -> None:
    """Compare the configured master key with the data keys that are there; for each new connection's process.

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
        _try_out(client, database, keys)


def rewrap(*, is_dry_run: bool = False) -> int:
    """Wrap all data keys by the current master key. Returns how many had another wrapping. Raises: Unreadable."""
    client, database = _client(), _database()
    provider, master_key = configuration()["provider"], configuration()["master_key"]
    others: dict[str, Any] = {"masterKey.provider": {"$ne": provider}}
    number = client[database][DATA_KEYS].count_documents(others)
    if number and not is_dry_run:
        with _machine(client, database) as machine:
            try:
                machine.rewrap_many_data_key(others, provider=provider, master_key=master_key)
            except PyMongoError as error:
                raise Unreadable("The data keys could not be rewrapped; they are as they were.") from error
    return number


def forget() -> None:
    """Read the data key anew when it is needed next."""
    with _lock:
        _ciphers.clear()


def _cipher() -> _Cipher:
    client, database = _client(), _database()
    found = _ciphers.get((os.getpid(), database))
    if found is None or found.client is not client:
        with _lock:
            found = _ciphers.get((os.getpid(), database))
            if found is None or found.client is not client:
                machine = _machine(client, database)
                found = _Cipher(client, machine, _data_key(machine, client, database))
                _ciphers[os.getpid(), database] = found
    return found


def _data_key(machine: ClientEncryption[Any], client: MongoClient[dict[str, Any]], database: str) -> Binary:
    """The id of the data key; made when there is none. Of two processes that make it at once one wins."""
    keys = client[database][DATA_KEYS]
    try:
        # Not `machine.get_key_by_alt_name`, and never in the open transaction: the key outlives a rollback.
        found = keys.find_one({"keyAltNames": KEY_NAME}, {"_id": 1})
        if found is None:
            keys.create_index("keyAltNames", unique=True, partialFilterExpression={"keyAltNames": {"$exists": True}})
            try:
                return machine.create_data_key(
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


def _try_out(client: MongoClient[dict[str, Any]], database: str, keys: list[dict[str, Any]]) -> None:
    """Unwrap each data key: a provider's name says which key it should be, this that it is."""
    with _machine(client, database) as machine:
        for key in keys:
            try:
                machine.encrypt("", _RANDOM, key_id=key["_id"])
            except EncryptionError as error:
                if isinstance(error.__cause__, PyMongoError):
                    raise OperationalError("The data keys cannot be read.") from error
                raise KeyProblem(
                    "A data key cannot be unwrapped with PHI_MASTER_KEY: it is not the right one."
                ) from error


def _machine(client: MongoClient[dict[str, Any]], database: str) -> ClientEncryption[Any]:
    return ClientEncryption(
        configuration()["kms_providers"],
        f"{database}.{DATA_KEYS}",
        client,
        CodecOptions(uuid_representation=STANDARD),
        key_expiration_ms=KEY_EXPIRATION_MS,
    )


def _client() -> MongoClient[dict[str, Any]]:
    connection = connections[CLINICAL]
    connection.ensure_connection()
    return cast(MongoClient[dict[str, Any]], connection.connection)


def _database() -> str:
    return connections[CLINICAL].settings_dict["NAME"]


def _forget_after_fork() -> None:
    """A forked child makes a machine of its own, on a client of its own."""
    global _lock
    _lock = threading.Lock()
    _ciphers.clear()
