"""A report as a file: CSV, or a chart as PNG or SVG."""

from collections.abc import Sequence

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from healthcare import csv_export
from reports import charts
from reports.queries import Report

#: A report is made of everybody's data: no copy of it stays on the way.
HEADERS = {"Cache-Control": "no-store"}
#: Format → media type.
KINDS = {"csv": "text/csv; charset=utf-8", "png": "image/png", "svg": "image/svg+xml"}


def as_file(report: Report, kind: str, *, columns: Sequence[str]) -> HttpResponseBase:
    """The answer that holds the report as a file of one of KINDS; `columns` are those of the CSV, in order."""
    if kind == "csv":
        rows = ([row[name] for name in columns] for row in report.rows)
        made: HttpResponseBase = StreamingHttpResponse(csv_export.csv_lines(columns, rows), content_type=KINDS[kind])
    else:
        made = HttpResponse(charts.draw(report, kind), content_type=KINDS[kind])
    name = f"{report.name}-{report.as_of:%Y-%m-%dT%H%M%SZ}.{kind}"
    disposition = "attachment" if kind == "csv" else "inline"
    for header, value in {**HEADERS, "Content-Disposition": f'{disposition}; filename="{name}"'}.items():
        made[header] = value
    return made
