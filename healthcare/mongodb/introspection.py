"""Indexes as the schema editor finds them again."""

from django_mongodb_backend import introspection
from pymongo import TEXT


class DatabaseIntrospection(introspection.DatabaseIntrospection):
    # The stock engine knows no text index: every migration that alters or removes an indexed field of a
    # collection # that has one ended in KeyError: 'text'.
    ORDER_DIR = {**introspection.DatabaseIntrospection.ORDER_DIR, TEXT: "TEXT"}
