"""Emptying or dropping a collection at once, however large, with its indexes as they are."""

from typing import cast

from django.db import connections

from healthcare.mongodb.base import DatabaseWrapper
from healthcare.mongodb.raw import Source, collection_name
from healthcare.routers import CLINICAL

#: What the empty collection is called until it takes the place of the full one.
SUFFIX = ".emptied"
_SERVERS_OWN = frozenset({"v", "ns", "background"})


def empty_collection(source: Source) -> None:
    """Put an empty collection with the same options and indexes in the place of the one that is there.

    One rename does it: whenever this process ends, there is the full collection or the empty one, each with all of its
    indexes. Deleting a million documents one by one took 6 minutes on a busy machine, this a tenth of a second.
    """
    database = _connection().database
    name = collection_name(source)
    found = next(iter(database.list_collections(filter={"name": name})), None)
    if found is None:
        return
    fresh = database[name + SUFFIX]
    fresh.drop()
    database.command("create", fresh.name, **found["options"])
    indexes = [
        {option: value for option, value in index.items() if option not in _SERVERS_OWN}
        for index in database[name].list_indexes()
    ]
    others = [index for index in indexes if index["name"] != "_id_"]
    if others:
        database.command("createIndexes", fresh.name, indexes=others)
    fresh.rename(name, dropTarget=True)


def drop_collection(name: str) -> None:
    """Drop a collection that no model owns, if it is there."""
    _connection().database.drop_collection(name)


def _connection() -> DatabaseWrapper:
    return cast(DatabaseWrapper, connections[CLINICAL])
