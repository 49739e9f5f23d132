"""Introspection: how the schema editor reads the indexes of a collection."""

from django_mongodb_backend import introspection
from pymongo import TEXT


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    # The stock engine does not know text indexes: each migration that altered or removed an indexed field of a
    # collection with a text index ended in KeyError: 'text'.
    ORDER_DIR = {**introspection.DatabaseIntrospection.ORDER_DIR, TEXT: "TEXT"}
