"""Pipelines whose sort can use an index."""

from typing import Any

from django_mongodb_backend import compiler, query
from django_mongodb_backend.compiler import (
    SQLAggregateCompiler,
    SQLDeleteCompiler,
    SQLInsertCompiler,
    SQLUpdateCompiler,
)

__all__ = [
    "SQLAggregateCompiler",
    "SQLCompiler",
    "SQLDeleteCompiler",
    "SQLInsertCompiler",
    "SQLUpdateCompiler",
]


class MongoQuery(query.MongoQuery):
    extra_fields: dict[str, Any] | None

    def get_pipeline(self) -> list[dict[str, Any]]:
        """Return the stock pipeline with nothing left between `$match` and `$sort` that hides an index.

        The stock engine orders `[$match, $addFields {date: "$date"}, $sort, $limit]`, and with `.only()`,
        `.values()` or annotations `[$match, $project, $sort, $limit]`. In either the server (6.0) no longer
        sorts by an index: it read all 1,000 matches instead of the 50 asked for (tests/mongodb/test_sort.py
        has the plans).
        """
        if self.extra_fields:
            # A field set to itself changes nothing, whether it is there, null or missing.
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
        """Whether the sort gives the same order before `$project`: by stored fields that it hands on
        unchanged.

        Groups, unions, joins and subqueries make or multiply documents: they keep the stock order of stages.
        """
        return bool(
            self.ordering
            and self.project_fields
            and not self.aggregation_pipeline
            and not self.combinator_pipeline
            and not self.lookup_pipeline
            and not self.subqueries
            and all(self.project_fields.get(column) == 1 for column in self.ordering)
        )


class SQLCompiler(compiler.SQLCompiler):
    query_class = MongoQuery
