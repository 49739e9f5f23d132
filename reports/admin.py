"""Admin pages of the reports, with filters, a chart, a table and downloads, and the charts of the dashboard."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
)

from accounts.sessions import user_of
from healthcare import audit_context
from healthcare.api.fields import EARLIEST, LATEST
from healthcare.staff_admin.site import hospital_site
from reports import charts, queries
from reports.files import MEDIA_TYPES, as_file
from reports.permissions import can_read_in_admin
from reports.serializers import MAX_DOCTORS

#: Rows of a chart on the dashboard. The report's page shows all rows.
BRIEF_ROWS = 8


class DoctorsForm(forms.Form):
    since = forms.DateField(label=_("From"), required=False, widget=UnfoldAdminSingleDateWidget)
    until = forms.DateField(label=_("To"), required=False, widget=UnfoldAdminSingleDateWidget)
    by = forms.ChoiceField(
        label=_("Ordered by"),
        required=False,
        choices=[("patients", _("patients")), ("appointments", _("appointments"))],
        widget=UnfoldAdminSelectWidget,
    )
    limit = forms.IntegerField(
        label=_("How many"), required=False, min_value=1, max_value=MAX_DOCTORS, widget=UnfoldAdminIntegerFieldWidget
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        since, until = values.get("since"), values.get("until")
        for day in filter(None, (since, until)):
            if not EARLIEST <= day <= LATEST:
                raise forms.ValidationError(
                    _("Enter a date from %(first)s to %(last)s.") % {"first": EARLIEST, "last": LATEST}
                )
        if since and until and since > until:
            raise forms.ValidationError(_("The period ends before it begins: change one of the dates."))
        return values


class DiseasesForm(forms.Form):
    basis = forms.ChoiceField(
        label=_("A treatment is"),
        required=False,
        choices=[("prescriptions", _("its prescriptions")), ("appointments", _("its completed visits"))],
        widget=UnfoldAdminSelectWidget,
    )


class MonthsForm(forms.Form):
    year = forms.IntegerField(
        label=_("Year"), required=False, min_value=1, max_value=9999, widget=UnfoldAdminIntegerFieldWidget
    )


@dataclass(frozen=True)
class Page:
    """A report's page: its title, its filters, the query that computes it, and the headings of its columns."""

    name: str
    title: Any
    explanation: Any
    form: type[forms.Form]
    run: Callable[..., queries.Report]
    headings: Mapping[str, Any]
    #: The chart of the dashboard: the column that labels the bars, and the columns shown as bars, with their colours.
    #: Stacked bars stand side by side, others one below the other. If there are too many rows, the chart has those with
    #: the highest values of the column `ranked_by`.
    bars_of: str
    bars: Mapping[str, str]
    is_stacked: bool = False
    ranked_by: str | None = None

    @property
    def url_name(self) -> str:
        return f"report_{self.name.replace('-', '_')}"

    def report(self, given: Mapping[str, object]) -> queries.Report:
        return self.run(**{name: value for name, value in given.items() if value not in (None, "")})

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the page, or with `?format=` the file."""
        if not can_read_in_admin(user_of(request)):
            raise PermissionDenied
        filters = {name: value for name, value in request.GET.items() if value and name in self.form.base_fields}
        form = self.form(filters or None, initial={})
        is_valid = not filters or form.is_valid()
        report = self.report(form.cleaned_data if filters and is_valid else {}) if is_valid else None
        if report is not None:
            audit_context.record_access("report.viewed", subject=self.name)
        kind = request.GET.get("format")
        if kind == "brief" and report is not None:
            return TemplateResponse(request, "admin/report_brief.html", self.brief(report))
        if kind in MEDIA_TYPES and report is not None:
            return as_file(report, kind, columns=tuple(self.headings))
        rows = [[row[name] for name in self.headings] for row in report.rows] if report else []
        context = {
            **admin.site.each_context(request),
            "title": self.title,
            "explanation": self.explanation,
            "form": form,
            "report": report,
            "alt": charts.title_of(report) if report else "",
            "headings": list(self.headings.values()),
            "rows": rows,
            # A year without appointments has twelve rows of zeros.
            "is_empty": not any(value for row in rows for value in row[1:]),
            "files": {kind: f"?{urlencode({**filters, 'format': kind})}" for kind in MEDIA_TYPES},
        }
        return TemplateResponse(request, "admin/report.html", context)

    def brief(self, report: queries.Report) -> dict[str, Any]:
        """Return the context of the report's chart on the dashboard: a table with a bar in each row.

        Unlike a picture, a table adapts to the theme and to narrow screens, and a screen reader can read it. The server
        would take some tenths of a second to draw a picture, on each log-in.
        """
        rows = report.rows
        if self.ranked_by and len(rows) > BRIEF_ROWS:
            rows = sorted(rows, key=itemgetter(self.ranked_by), reverse=True)[:BRIEF_ROWS]
        figures = [[row[name] or 0 for name in self.bars] for row in rows]
        most = max((sum(each) if self.is_stacked else max(each) for each in figures), default=0)
        label = (lambda row: charts.MONTHS[row["month"] - 1]) if self.bars_of == "month" else itemgetter(self.bars_of)
        return {
            "title": self.title,
            "is_stacked": self.is_stacked,
            "is_cut": len(rows) < len(report.rows),
            "subject": self.headings[self.bars_of],
            "headings": [(self.headings[name], colour) for name, colour in self.bars.items()],
            "rows": [
                # A doctor who was deleted has no name.
                (
                    label(row) or "–",
                    [(row[name], colour, float(100 * (row[name] or 0) / most)) for name, colour in self.bars.items()],
                )
                for row in rows
                if most
            ],
        }


def _months(*, year: int | None = None) -> queries.Report:
    return queries.monthly_appointments_trend(year=year or timezone.localdate().year)


PAGES = (
    Page(
        queries.TOP_DOCTORS,
        _("Top doctors"),
        _("Distinct patients and appointments of each doctor. Cancelled visits do not count."),
        DoctorsForm,
        queries.top_doctors,
        {
            "doctor_id": _("Doctor id"), "name": _("Name"), "specialty": _("Specialty"), "patients": _("Patients"),
            "appointments": _("Appointments"),
        },
        bars_of="name",
        bars={"patients": "blue", "appointments": "orange"},
    ),
    Page(
        queries.DISEASE_TRENDS,
        _("Disease trends"),
        _("Patients and average days of treatment of each disease. Ongoing treatments are not averaged."),
        DiseasesForm,
        queries.disease_trends,
        {
            "disease": _("Disease"), "patients": _("Patients"), "ongoing": _("Ongoing"),
            "average_treatment_days": _("Average days"),
        },
        bars_of="disease",
        bars={"average_treatment_days": "blue"},
        ranked_by="patients",
    ),
    Page(
        queries.MONTHLY_TREND,
        _("Appointments by month"),
        _("Appointments of a year by month and status."),
        MonthsForm,
        _months,
        {
            "month": _("Month"), "completed": _("Completed"), "cancelled": _("Cancelled"),
            "scheduled": _("Scheduled"),
        },
        bars_of="month",
        bars={"completed": "green", "scheduled": "blue", "cancelled": "orange"},
        is_stacked=True,
    ),
    Page(
        queries.PRESCRIPTION_COST,
        _("Average prescription cost"),
        _("Average cost of prescriptions, and of the visits billed for them. The figures are at most a minute old."),
        forms.Form,
        queries.average_prescription_cost,
        {
            "disease": _("Disease"), "prescriptions": _("Prescriptions"),
            "average_prescription_cost": _("Average prescription cost"), "billed_visits": _("Billed visits"),
            "average_total_cost": _("Average bill"),
        },
        bars_of="disease",
        bars={"average_prescription_cost": "blue", "average_total_cost": "orange"},
        ranked_by="prescriptions",
    ),
)  # fmt: skip
for page in PAGES:
    hospital_site().add_page(f"reports/{page.name}/", page, page.url_name, actions=("report.viewed", "report.viewed"))


def _dashboard_charts(request: HttpRequest) -> dict[str, Any]:
    """Return the reports whose charts the dashboard loads, if the user may read reports."""
    if not can_read_in_admin(user_of(request)):
        return {}
    return {"reports": [(page.title, reverse(f"admin:{page.url_name}")) for page in PAGES]}


hospital_site().add_to_dashboard(_dashboard_charts)
