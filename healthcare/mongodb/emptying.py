"""Empty or drop a collection at once, whatever its size. An emptied collection keeps its options and indexes."""

from healthcare.mongodb.base import clinical_connection
from healthcare.mongodb.raw import Source, collection_name

#: Added to the name of the empty collection until it replaces the full one.
SUFFIX = ".emptied"
_SERVER_OPTIONS = frozenset({"v", "ns", "background"})


def empty_collection(source: Source) -> None:
    """Replace a collection by an empty one with the same options and indexes.

    A single rename replaces it: if this process is killed, either the full or the empty collection is there, each with
    all of its indexes. Deleting a million documents took 6 minutes on a busy machine; replacing them takes 0.1 s.
    """
    database = clinical_connection().database
    name = collection_name(source)
    found = next(iter(database.list_collections(filter={"name": name})), None)
    if found is None:
        return
    fresh = database[name + SUFFIX]
    fresh.drop()
    database.command("create", fresh.name, **found["options"])
    indexes = [
        {option: value for option, value in index.items() if option not in _SERVER_OPTIONS}
        for index in database[name].list_indexes()
    ]
    others = [index for index in indexes if index["name"] != "_id_"]
    if others:
        database.command("createIndexes", fresh.name, indexes=others)
    fresh.rename(name, dropTarget=True)


def drop_collection(name: str) -> None:
    """Drop a collection that belongs to no model, if it exists."""
    clinical_connection().database.drop_collection(name)
