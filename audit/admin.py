"""Admin page of the audit log, which can be searched and exported, but not changed."""

import re
from datetime import date, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from accounts.sessions import user_of
from audit import queries
from healthcare import audit_context, clock, csv_export
from healthcare.audit_log import recorder
from healthcare.audit_log.models import AuditEntry
from healthcare.staff_admin.model_admin import AuditedAdmin, CappedPaginator

COLUMNS = (
    "id", "at", "actor_id", "role", "action", "outcome", "reason", "patient_ids", "subject", "channel", "address",
    "request_id",
)  # fmt: skip
EXPORT_BATCH = 2_000
_TERM = re.compile(r"(?:(patient|account|action|day):)?(\S+)")


def search_condition(text: str) -> Q | None:
    """Return the condition of a search, or None if the search is not valid, such as account:everybody.

    All words must match: "patient:P1 action:patient.viewed day:2026-11-23". A word without a name is a patient's id.
    """
    wanted = Q()
    for name, value in _TERM.findall(text):
        match name:
            case "account" if value.isascii() and value.isdigit() and len(value) < 19:
                wanted &= Q(actor_id=int(value))
            case "action":
                wanted &= Q(action=value)
            case "day":
                try:
                    day = date.fromisoformat(value)
                    wanted &= Q(at__gte=queries.midnight(day), at__lt=queries.midnight(day + timedelta(days=1)))
                except (ValueError, OverflowError):
                    return None
            case "patient" | "":
                wanted &= Q(patient_rows__patient_id=value)
            case _:
                return None
    return wanted


def patients_in_search(text: str) -> list[str]:
    return [value for name, value in _TERM.findall(text) if name in ("", "patient")]


class OutcomeFilter(admin.SimpleListFilter):
    title = _("outcome")
    parameter_name = "outcome"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(outcome, outcome) for outcome in audit_context.OUTCOMES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(outcome=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(AuditedAdmin):
    resource = "audit"
    action_names = {"export": "exported"}
    list_display = ("timestamp", "actor", "action", "patients", "outcome", "reason", "subject", "channel", "address")
    list_filter = (OutcomeFilter,)
    # Django shows the search field if there is any name; `get_search_results` searches.
    search_fields = ("action",)
    search_help_text = _(
        "Enter a patient's id, or words such as patient:P1 account:17 action:patient.viewed day:2026-11-23. "
        "All of them must match."
    )
    ordering = ("-at", "-id")
    fields = ("id", "timestamp", "actor", *COLUMNS[4:])
    sortable_by = ()
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_select_related = ()
    actions = None
    change_list_template = "admin/audit_log.html"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        return queries.visible_to(user_of(request)).order_by(*self.ordering)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        wanted = search_condition(search_term)
        return (queryset.none() if wanted is None else queryset.filter(wanted)), False

    @admin.display(description=_("time (UTC)"))
    def timestamp(self, entry: AuditEntry) -> str:
        return f"{entry.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description=_("actor"))
    def actor(self, entry: AuditEntry) -> str:
        return entry.role if entry.actor_id is None else f"{entry.role} {entry.actor_id}"

    @admin.display(description=_("patients"))
    def patients(self, entry: AuditEntry) -> str:
        first = ", ".join(entry.patient_ids[:5])
        more = len(entry.patient_ids) - 5
        return f"{first} +{more}" if more > 0 else first

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export)
        return [path("export", export, name="healthcare_auditentry_export"), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """Return all entries that the list's search and filters select as a CSV file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            entries = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            return HttpResponseRedirect(reverse("admin:healthcare_auditentry_changelist"))
        patients = patients_in_search(request.GET.get("q", ""))
        # The audit entry of the export is written before the first line is sent.
        recorder.record("audit.exported", actor=request.user, patient_ids=patients)
        rows = entries.values_list(*COLUMNS).iterator(chunk_size=EXPORT_BATCH)
        response = StreamingHttpResponse(csv_export.csv_lines(COLUMNS, rows), content_type="text/csv; charset=utf-8")
        name = f"audit-log-{clock.now():%Y-%m-%dT%H%M%SZ}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response
