"""Reports as files: CSV, or a chart as PNG or SVG."""

from collections.abc import Sequence

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from healthcare import csv_export
from reports import charts
from reports.queries import Report

#: A report is made of everybody's data, so no cache may keep a copy.
HEADERS = {"Cache-Control": "no-store"}
#: Format → media type.
MEDIA_TYPES = {"csv": "text/csv; charset=utf-8", "png": "image/png", "svg": "image/svg+xml"}


def as_file(report: Report, kind: str, *, columns: Sequence[str]) -> HttpResponseBase:
    """Return a response with the report as a file of one of the MEDIA_TYPES. `columns` are the columns of the CSV."""
    if kind == "csv":
        rows = ([row[name] for name in columns] for row in report.rows)
        response: HttpResponseBase = StreamingHttpResponse(
            csv_export.csv_lines(columns, rows), content_type=MEDIA_TYPES[kind]
        )
    else:
        response = HttpResponse(charts.draw(report, kind), content_type=MEDIA_TYPES[kind])
    name = f"{report.name}-{report.as_of:%Y-%m-%dT%H%M%SZ}.{kind}"
    disposition = "attachment" if kind == "csv" else "inline"
    for header, value in {**HEADERS, "Content-Disposition": f'{disposition}; filename="{name}"'}.items():
        response[header] = value
    return response
