"""Admin pages of bills and fees: actions that mark bills as paid or void, and the totals of the list."""

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.models import User
from accounts.sessions import user_of
from appointments.admin import APPOINTMENT_LINKS
from appointments.models import Appointment
from billing import queries, services
from billing.models import Bill, Fee, Status
from billing.serializers import BillChanges, BillIn
from billing.tables import BillTable
from healthcare import audit_context
from healthcare.staff_admin.autocomplete import AutocompleteField
from healthcare.staff_admin.forms import ResourceForm
from healthcare.staff_admin.import_export import ImportExportAdmin
from healthcare.staff_admin.model_admin import DomainErrorAdmin
from healthcare.staff_admin.site import hospital_site
from patients.admin import PATIENT_LINKS, TIMELINE_SOURCES, PatientLink, TimelineEntry
from patients.models import CHART_LENGTH, Patient

#: Final status → the sentence that explains the status to users.
STATUS_EXPLANATIONS = {
    Status.PAID: _("The bill was paid in full."),
    Status.VOID: _("A void bill need not be paid, and the reports leave it out."),
}


class BillRequest(HttpRequest):
    """A request about one bill, with that bill, so that several permission checks read it once."""

    bill: Bill | None


class BillForm(ResourceForm):
    new, changes = BillIn, BillChanges
    patient_id = AutocompleteField(label=_("Patient"), url_name="admin:patients_patient_autocomplete")
    appointment_id = forms.CharField(
        label=_("Appointment"),
        required=False,
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text=_("The id of an appointment of this patient. Leave empty if the bill belongs to none."),
    )


class PeriodFilter(admin.SimpleListFilter):
    """Filters by the day of creation, in the browser's time zone."""

    title = _("created")
    parameter_name = "created"
    #: Word → how many days ago the period began. The value "month" means the first day of this month.
    days = {"today": 0, "week": 6}

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, Any]]:
        return [("today", _("Today")), ("week", _("The last seven days")), ("month", _("This month"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Bill]) -> QuerySet[Bill]:
        word = self.value()
        if word is None:
            return queryset
        today = timezone.localdate()
        first = today.replace(day=1) if word == "month" else today - timedelta(days=self.days.get(word, 0))
        return queryset.filter(created_at__gte=timezone.make_aware(datetime.combine(first, time.min)))


@admin.register(Bill)
class BillAdmin(ImportExportAdmin):
    resource = "bill"
    table = BillTable
    action_names = {"pay": "paid", "void": "voided"}
    form = BillForm
    list_display = ("id", "patient_id", "appointment_id", "disease", "total_cost", "state", "created")
    list_filter = ("status", PeriodFilter)
    list_before_template = "admin/bill_totals.html"
    actions = ("pay_bills", "void_bills")
    actions_detail = ("pay", "void")
    search_fields = ("id", "patient_id", "appointment_id")
    search_help_text = _("The number of the bill, the id of the patient or of the appointment.")
    ordering = ("-id",)
    fixed_fields = ("patient_id",)
    computed_fields = ("created",)

    class Media:
        js = ("healthcare/autocomplete.js",)

    def visible_to(self, user: User) -> QuerySet[Bill]:
        return queries.visible_to(user)

    def create(self, actor: User, **values: Any) -> Bill:
        return services.create_bill(actor=actor, **values)

    def change(self, actor: User, key: int, **values: Any) -> Bill:
        return services.change_bill(actor=actor, bill_id=key, **values)

    def remove(self, actor: User, key: int) -> None:
        services.delete_bill(actor=actor, bill_id=key)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Take the patient and the appointment from a link, and ignore all its other parameters."""
        given = super().get_changeform_initial_data(request)
        return {name: given[name] for name in ("patient_id", "appointment_id") if name in given}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Bill], search_term: str
    ) -> tuple[QuerySet[Bill], bool]:
        key = search_term.strip()
        wanted = Q(patient_id=key) | Q(appointment_id=key)
        # The numbers of bills are 64-bit integers, which have at most 19 digits.
        if key.isascii() and key.isdigit() and len(key) < 19:
            wanted |= Q(id=int(key))
        return (queryset.filter(wanted) if key else queryset), False

    @display(
        description=_("status"),
        ordering="status",
        label={Status.OPEN: "warning", Status.PAID: "success", Status.VOID: "danger"},
    )
    def state(self, bill: Bill) -> tuple[str, Any]:
        return bill.status, bill.get_status_display()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Add the totals by status of the filtered list, on all its pages."""
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if changelist := context.get("cl"):
            rows = changelist.queryset.order_by().values("status").annotate(number=Count("pk"), total=Sum("total_cost"))
            by_status = {row["status"]: row for row in rows}
            context["totals"] = [
                (label, by_status[status]["number"], by_status[status]["total"])
                for status, label in Status.choices
                if status in by_status
            ]
        return response

    # Bills are marked as paid or void from the list or from their own page. Both ask for confirmation.

    @admin.action(description=_("Mark as paid"), permissions=["change"])
    def pay_bills(self, request: HttpRequest, queryset: QuerySet[Bill]) -> HttpResponse | None:
        return self._settle_selected(request, queryset, Status.PAID)

    @admin.action(description=_("Void"), permissions=["change"])
    def void_bills(self, request: HttpRequest, queryset: QuerySet[Bill]) -> HttpResponse | None:
        return self._settle_selected(request, queryset, Status.VOID)

    def _settle_selected(self, request: HttpRequest, queryset: QuerySet[Bill], status: Status) -> HttpResponse | None:
        bills = self.selected_rows(request, queryset)
        is_voiding = status == Status.VOID
        if not bills:
            return None
        if "confirmed" not in request.POST:
            return self.selected_rows_page(
                request,
                bills,
                title=_("Void these bills?") if is_voiding else _("Mark these bills as paid?"),
                explanation=STATUS_EXPLANATIONS[status],
                headings=(_("number"), _("patient"), _("appointment"), _("total cost"), _("status")),
                cells=_columns,
                button=_("Void the bills") if is_voiding else _("Mark the bills as paid"),
            )
        settled = self.apply_to_rows(request, bills, partial(_close_bill, user_of(request), status))
        if settled:
            texts = {
                Status.PAID: ngettext("%(n)d bill is paid.", "%(n)d bills are paid.", len(settled)),
                Status.VOID: ngettext("%(n)d bill is void.", "%(n)d bills are void.", len(settled)),
            }
            self.message_user(request, texts[status] % {"n": len(settled)}, messages.SUCCESS)
        return None

    def has_settle_permission(self, request: BillRequest, object_id: str | None = None) -> bool:
        """Return whether the bill is open and the user may change it."""
        if not hasattr(request, "bill"):
            request.bill = self.get_object(request, unquote(str(object_id)))
        bill = request.bill
        return bill is not None and bill.status == Status.OPEN and self.has_change_permission(request, bill)

    @action(
        description=_("Mark as paid"),
        permissions=["settle"],
        icon="payments",
        variant=ActionVariant.SUCCESS,
        dialog={
            "title": _("Mark this bill as paid?"),
            "description": STATUS_EXPLANATIONS[Status.PAID],
            "form_submit_text": _("Mark as paid"),
        },
    )
    def pay(self, request: HttpRequest, form: object, object_id: str) -> HttpResponse:
        return self._close(request, object_id, Status.PAID)

    @action(
        description=_("Void"),
        permissions=["settle"],
        icon="block",
        variant=ActionVariant.DANGER,
        dialog={
            "title": _("Void this bill?"),
            "description": STATUS_EXPLANATIONS[Status.VOID],
            "form_submit_text": _("Void the bill"),
        },
    )
    def void(self, request: HttpRequest, form: object, object_id: str) -> HttpResponse:
        return self._close(request, object_id, Status.VOID)

    def _close(self, request: HttpRequest, object_id: str, status: Status) -> HttpResponse:
        with self.report_domain_errors(request):
            bill = services.close_bill(actor=user_of(request), bill_id=int(object_id), status=status)
            text = _("Bill %(number)s is %(status)s.")
            self.message_user(request, text % {"number": bill.pk, "status": bill.get_status_display()})
        return self.redirect_to_row(request, object_id)


def _close_bill(actor: User, status: Status, bill: Bill) -> Bill:
    return services.close_bill(actor=actor, bill_id=bill.pk, status=status)


def _columns(bill: Bill) -> tuple[Any, ...]:
    return bill.pk, bill.patient_id, bill.appointment_id, f"{bill.total_cost:,.2f}", bill.get_status_display()


@admin.register(Fee)
class FeeAdmin(DomainErrorAdmin):
    """The fee table."""

    resource = "fee"
    names_people = False
    list_display = ("__str__", "amount")
    fields = ("specialty", "amount")

    def save_model(self, request: HttpRequest, obj: Fee, form: object, change: bool) -> None:
        services.save_fee(actor=user_of(request), fee=obj)


def _timeline_entries(request: HttpRequest, patient: Patient) -> Iterator[TimelineEntry]:
    """Yield the patient's newest bills, if the user may see bills."""
    if not admin.site.get_model_admin(Bill).has_view_permission(request):
        return
    bills = queries.matching(user_of(request), patient_id=patient.pk)[:CHART_LENGTH]
    audit_context.record_access("bill.listed", [patient.pk])
    for bill in bills:
        parts = (f"{bill.total_cost:,.2f}", bill.get_status_display(), bill.appointment_id, bill.disease)
        yield TimelineEntry(
            day=timezone.localtime(bill.created_at).date(),
            kind="bill",
            label=_("Bill"),
            text=", ".join(str(part) for part in parts if part),
            path=reverse("admin:billing_bill_change", args=[bill.pk]),
        )


def _may_create_bill(request: HttpRequest) -> bool:
    return admin.site.get_model_admin(Bill).has_add_permission(request)


def _appointment_link(request: HttpRequest, visit: Appointment) -> tuple[Any, str] | None:
    """Return a link to the form for a bill of the appointment."""
    query = urlencode({"patient_id": visit.patient_id, "appointment_id": visit.pk})
    return (_("Create a bill"), f"{reverse('admin:billing_bill_add')}?{query}") if _may_create_bill(request) else None


TIMELINE_SOURCES.append(_timeline_entries)
PATIENT_LINKS.append(PatientLink(_("Create a bill"), "admin:billing_bill_add", _may_create_bill))
APPOINTMENT_LINKS.append(_appointment_link)


def _dashboard_figures(request: HttpRequest) -> dict[str, Any]:
    """Return the figure about open bills."""
    if not admin.site.get_model_admin(Bill).has_view_permission(request):
        return {}
    unpaid = queries.visible_to(user_of(request)).filter(status=Status.OPEN)
    # Counts name no patient, but the audit log has an entry for them.
    audit_context.record_access("bill.counted")
    found = unpaid.aggregate(number=Count("id"), total=Sum("total_cost"))
    path = f"{reverse('admin:billing_bill_changelist')}?status__exact={Status.OPEN}"
    return {"figures": [(_("Open bills"), found["number"], f"{found['total'] or 0:,.2f}", path)]}


hospital_site().add_to_dashboard(_dashboard_figures)
