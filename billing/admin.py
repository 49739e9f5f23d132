"""Bills in the staff's admin."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from billing import queries, services
from billing.models import Bill, Fee, Status
from billing.serializers import BillChanges, BillIn
from healthcare import trail
from healthcare.admin import RefusalsOnForm, RoomAdmin, RoomForm


class BillForm(RoomForm):
    new, changes = BillIn, BillChanges


@admin.register(Bill)
class BillAdmin(RoomAdmin):
    noun = "bill"
    form = BillForm
    list_display = ("id", "patient_id", "appointment_id", "disease", "total_cost", "status", "created_at")
    list_filter = ("status",)
    search_fields = ("id", "patient_id", "appointment_id")
    search_help_text = _("The number of the bill, the id of the patient or of the appointment.")
    ordering = ("-id",)
    fixed_fields = ("patient_id",)
    computed_fields = ("created_at",)

    def visible_to(self, user: Any) -> QuerySet[Bill]:
        return queries.visible_to(user)

    def create(self, actor: Any, **values: Any) -> Bill:
        return services.create_bill(actor=actor, **values)

    def change(self, actor: Any, key: Any, **values: Any) -> Bill:
        return services.change_bill(actor=actor, bill_id=key, **values)

    def remove(self, actor: Any, key: Any) -> None:
        services.delete_bill(actor=actor, bill_id=key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Bill], search_term: str
    ) -> tuple[QuerySet[Bill], bool]:
        key = search_term.strip()
        wanted = Q(patient_id=key) | Q(appointment_id=key)
        if key.isascii() and key.isdigit():
            wanted |= Q(id=int(key))
        return (queryset.filter(wanted) if key else queryset), False


@admin.register(Fee)
class FeeAdmin(RefusalsOnForm):
    """The fee table."""

    noun = "fee"
    names_people = False
    list_display = ("__str__", "amount")
    fields = ("specialty", "amount")

    def save_model(self, request: HttpRequest, obj: Fee, form: Any, change: bool) -> None:
        services.save_fee(actor=request.user, fee=obj)  # type: ignore[arg-type]


def _figures(request: HttpRequest) -> dict[str, Any]:
    """The dashboard's part: the bills that are open."""
    if not admin.site.get_model_admin(Bill).has_view_permission(request):
        return {}
    unpaid = queries.visible_to(request.user).filter(status=Status.OPEN)  # type: ignore[arg-type]
    # Nobody is named; that somebody counted is on record.
    trail.shown("bill.counted")
    found = unpaid.aggregate(number=Count("id"), total=Sum("total_cost"))
    path = f"{reverse('admin:billing_bill_changelist')}?status__exact={Status.OPEN}"
    return {"figures": [(_("Open bills"), found["number"], f"{found['total'] or 0:,.2f}", path)]}


admin.site.add_to_dashboard(_figures)  # type: ignore[attr-defined]
