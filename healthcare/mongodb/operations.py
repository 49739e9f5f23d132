"""Database operations: the module of the compilers, and the escaping of `__iexact`."""

from django_mongodb_backend import operations


class DatabaseOperations(operations.DatabaseOperations):
    compiler_module = "healthcare.mongodb.compiler"

    def prep_for_iexact_query(self, x: str) -> str:
        """Escape a text for the regular expression that the engine makes of `__iexact`.

        The stock engine overrides `prep_for_like_query` only, and Django's `prep_for_iexact_query` is an alias of
        Django's own method. So `name__iexact=".*"` matched every document.
        """
        return self.prep_for_like_query(x)
