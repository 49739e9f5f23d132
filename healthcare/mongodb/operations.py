"""Where the compilers are, and how a text becomes a pattern."""

from django_mongodb_backend import operations


class DatabaseOperations(operations.DatabaseOperations):
    compiler_module = "healthcare.mongodb.compiler"

    def prep_for_iexact_query(self, x: str) -> str:
        """Escape a text for the regular expression that `__iexact` becomes.

        The stock engine overrides only `prep_for_like_query`; Django's base class made its
        `prep_for_iexact_query` an alias of its own method, so `name__iexact=".*"` matched every document.
        """
        return self.prep_for_like_query(x)
