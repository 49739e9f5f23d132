"""`manage.py encrypt_phi` encrypts values that were stored before PHI_MASTER_KEY was set, while the system runs."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import models
from pymongo import UpdateOne
from rich.progress import Progress

from healthcare.audit_log import recorder
from healthcare.mongodb import encryption, raw
from healthcare.mongodb.encrypted_fields import encrypted_document, encrypted_fields
from healthcare.mongodb.raw import Document

BATCH = 500
MAX_TIME_MS = 120_000


class Command(BaseCommand):
    help = (
        "Encrypts the plain values of the encrypted fields (phone, e-mail, address, national id, notes). Restart the"
        " servers with PHI_MASTER_KEY first, so that they write no more plain values. You can interrupt the command and"
        " run it again: each run encrypts the values that are still plain."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count the plain values and change nothing")

    def handle(self, *args: object, dry_run: bool, **options: object) -> None:
        if not encryption.is_on():
            raise CommandError("PHI_MASTER_KEY is not set. Set it, restart the servers, and run the command again.")
        for model in apps.get_models():
            if not encrypted_fields(model):
                continue
            number = count_plain(model)
            name = model._meta.verbose_name_plural
            if dry_run:
                self.stdout.write(f"{number:,} {name} have plain values.")
                continue
            done = self._encrypt(model, number)
            self.stdout.write(f"{done:,} {name} were encrypted; none has plain values.")

    def _encrypt(self, model: type[models.Model], number: int) -> int:
        done = 0
        with Progress(disable=not self.stdout.isatty()) as progress:
            task = progress.add_task(f"Encrypting {model._meta.verbose_name_plural}", total=number)
            # The next pass encrypts records that changed during this one, but nearly always finds none.
            while found := encrypt_once(model, lambda batch: progress.advance(task, batch)):
                done += found
        return done


def count_plain(model: type[models.Model]) -> int:
    """Return the number of records with plain values."""
    return raw.collection(model).count(_with_plain(model), max_time_ms=MAX_TIME_MS)


def encrypt_once(model: type[models.Model], advance: Any) -> int:
    """Pass through the collection by `_id` once. Return the number of encrypted records; 0 if none was plain."""
    done = found = 0
    for batch in _batches(model):
        found += len(batch)
        updates = []
        for document in batch:
            stored = encrypted_document(model, document)
            changed = {name: value for name, value in stored.items() if document[name] is not value}
            # The filter requires the values that were read, so that no concurrent change is undone.
            unchanged = {"_id": document["_id"], **{name: document[name] for name in changed}}
            updates.append(UpdateOne(unchanged, {"$set": changed}))
        # The entry is recorded before the write, so that it exists even if the run is killed.
        recorder.record(f"{model._meta.model_name}.encrypted", actor=None, patient_ids=[each["_id"] for each in batch])
        written = raw.collection(model).bulk_write(updates, is_ordered=False, max_time_ms=MAX_TIME_MS)
        done += written.modified_count
        advance(len(batch))
    return done or found


def _batches(model: type[models.Model]) -> Iterator[list[raw.Document]]:
    names = list(encrypted_fields(model))
    where: Document = _with_plain(model)
    while batch := raw.collection(model).find(where, projection=names, sort=[("_id", 1)], limit=BATCH):
        yield batch
        where = {**_with_plain(model), "_id": {"$gt": batch[-1]["_id"]}}


def _with_plain(model: type[models.Model]) -> Document:
    return {"$or": [{name: {"$type": "string"}} for name in encrypted_fields(model)]}
