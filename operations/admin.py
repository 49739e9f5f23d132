"""Admin page of the outbox: events that wait for delivery, and dead letters."""

from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from healthcare import clock
from healthcare.audit_log import recorder
from healthcare.outbox import events
from healthcare.outbox.models import Event
from healthcare.staff_admin.model_admin import AuditedAdmin, CappedPaginator


class DeliveryFilter(admin.SimpleListFilter):
    """Filters the outbox by events that are not delivered, because most of its events are delivered."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, Any]]:
        return [("dead", _("Dead letters")), ("due", _("Waiting for delivery"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Event]) -> models.QuerySet[Event]:
        # Each condition is a range of a small index, because delivered events do not have these fields.
        fields = {"dead": "dead_lettered_at", "due": "due_at"}
        if field := fields.get(self.value() or ""):
            return queryset.filter(**{f"{field}__gt": datetime.fromtimestamp(0, tz=UTC)})
        return queryset


@admin.register(Event)
class EventAdmin(AuditedAdmin):
    """The outbox: events that wait, and dead letters, which wait until somebody retries them."""

    resource = "event"

    list_display = ("occurred", "kind", "subject_id", "state", "attempts", "reason")
    list_filter = (DeliveryFilter,)
    search_fields = ("subject_id",)
    search_help_text = _("The id of the event, of the record or of the patient.")
    ordering = ("-id",)
    sortable_by = ()
    actions = ("retry_delivery",)
    fields = (
        "id", "kind", "occurred", "subject_id", "patient_id", "delivery", "pending", "attempts", "reason",
        "next_attempt", "dead_letter_since",
    )  # fmt: skip
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_select_related = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> tuple[str, ...]:
        return self.fields

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Event], search_term: str
    ) -> tuple[models.QuerySet[Event], bool]:
        key = search_term.strip()
        wanted = models.Q(subject_id=key) | models.Q(patient_id=key)
        if ObjectId.is_valid(key):
            wanted |= models.Q(pk=ObjectId(key))
        return (queryset.filter(wanted) if key else queryset), False

    @admin.display(description=_("occurred"))
    def occurred(self, event: Event) -> str:
        return clock.display(event.at)

    @admin.display(description=_("next attempt"))
    def next_attempt(self, event: Event) -> str:
        return clock.display(event.due_at)

    @admin.display(description=_("dead letter since"))
    def dead_letter_since(self, event: Event) -> str:
        return clock.display(event.dead_lettered_at)

    @display(description=_("state"), label={"delivered": "success", "waiting": "info", "dead": "danger"})
    def state(self, event: Event) -> tuple[str, Any]:
        if event.dead_lettered_at:
            return "dead", _("dead letter")
        return ("waiting", _("waiting")) if event.due_at else ("delivered", _("delivered"))

    @admin.display(description=_("state"))
    def delivery(self, event: Event) -> str:
        return str(self.state(event)[1])

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # The page has no input fields. Events are retried by an action of the list.
        context |= {"show_save": False, "show_save_and_continue": False, "show_save_and_add_another": False}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description=_("Retry"), permissions=["change"])
    def retry_delivery(self, request: HttpRequest, queryset: models.QuerySet[Event]) -> None:
        count = 0
        for event in queryset:
            if events.retry(event.pk):
                count += 1
                recorder.record("event.taken_up", actor=request.user, subject=event.pk)
        self.message_user(request, _("%(number)d events wait for delivery again.") % {"number": count})
