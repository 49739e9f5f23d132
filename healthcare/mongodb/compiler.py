"""The SQL compiler of the engine: queries limited in time, and pipelines whose sort can use an index."""

from typing import Any

from django_mongodb_backend import compiler, query
from django_mongodb_backend.compiler import (
    SQLAggregateCompiler,
    SQLDeleteCompiler,
    SQLInsertCompiler,
    SQLUpdateCompiler,
)

from healthcare.mongodb.documents import Document

__all__ = [
    "SQLAggregateCompiler",
    "SQLCompiler",
    "SQLDeleteCompiler",
    "SQLInsertCompiler",
    "SQLUpdateCompiler",
]

#: How long a query may take on the server, such as a search for a common word among a million names.
MAX_TIME_MS = 10_000


class MongoQuery(query.MongoQuery):
    extra_fields: Document | None

    @query.wrap_database_errors
    def get_cursor(self) -> Any:
        """Run the pipeline with a time limit. Raises: DatabaseError, caused by ExecutionTimeout."""
        return self.compiler.collection.aggregate(
            self.get_pipeline(), session=self.compiler.connection.session, maxTimeMS=MAX_TIME_MS
        )

    def get_pipeline(self) -> list[Document]:
        """Return the stock engine's pipeline without a stage between `$match` and `$sort` that hides an index.

        The stock engine orders the stages `[$match, $addFields {date: "$date"}, $sort, $limit]`, and with `.only()`,
        `.values()` or annotations `[$match, $project, $sort, $limit]`. In both cases the server (MongoDB 6.0) does not
        sort by an index: it reads all 1,000 matches instead of the 50 requested (tests/mongodb/test_sort.py).
        """
        if self.extra_fields:
            # Setting a field to itself changes nothing, whether the field has a value, is null or is missing.
            self.extra_fields = {
                name: expression for name, expression in self.extra_fields.items() if expression != f"${name}"
            }
        stages = super().get_pipeline()
        if self._sorts_before_projecting():
            own = stages[0]["$lookup"]["pipeline"] if self.subquery_lookup else stages
            at = next(i for i, stage in enumerate(own) if stage.get("$project") is self.project_fields)
            own.append(own.pop(at))
        return stages

    def _sorts_before_projecting(self) -> bool:
        """Return whether sorting before `$project` gives the same order, because it passes the sort keys unchanged.

        The computed keys of expressions and of `nulls_last` are made in `$project` or after it.
        """
        projected = self.project_fields
        return bool(projected and self.ordering) and all(projected.get(key) == 1 for key in self.ordering)


class SQLCompiler(compiler.SQLCompiler):
    query_class = MongoQuery
