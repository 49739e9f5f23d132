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


class WaitingFilter(admin.SimpleListFilter):
    """Events that something is left to do for: the log itself is long, and told already."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("aside", _("Set aside, until somebody has looked")), ("due", _("Waiting for the relay"))]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Event]) -> models.QuerySet[Event]:
        # Each is a range of a small index: only events with something to do carry the field.
        fields = {"aside": "dead_lettered_at", "due": "due_at"}
        if field := fields.get(self.value() or ""):
            return queryset.filter(**{f"{field}__gt": datetime.fromtimestamp(0, tz=UTC)})
        return queryset


@admin.register(Event)
class EventAdmin(AuditedAdmin):
    """The event log: what waits, and what was set aside until somebody has looked at its reason."""

    resource = "event"

    list_display = ("happened", "kind", "subject_id", "state", "attempts", "reason")
    list_filter = (WaitingFilter,)
    search_fields = ("subject_id",)
    search_help_text = _("The id of the event, of the record or of the patient.")
    ordering = ("-id",)
    sortable_by = ()
    actions = ("try_again",)
    fields = (
        "id", "kind", "happened", "subject_id", "patient_id", "standing", "pending", "attempts", "reason", "due",
        "dead_lettered",
    )  # fmt: skip
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_select_related = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return self.fields

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Event], search_term: str
    ) -> tuple[models.QuerySet[Event], bool]:
        key = search_term.strip()
        wanted = models.Q(subject_id=key) | models.Q(patient_id=key)
        if ObjectId.is_valid(key):
            wanted |= models.Q(pk=ObjectId(key))
        return (queryset.filter(wanted) if key else queryset), False

    @admin.display(description=_("happened"))
    def happened(self, event: Event) -> str:
        return clock.display(event.at)

    @admin.display(description=_("due"))
    def due(self, event: Event) -> str:
        return clock.display(event.due_at)

    @admin.display(description=_("set aside"))
    def dead_lettered(self, event: Event) -> str:
        return clock.display(event.dead_lettered_at)

    @display(description=_("state"), label={"told": "success", "waiting": "info", "aside": "danger"})
    def state(self, event: Event) -> tuple[str, Any]:
        if event.dead_lettered_at:
            return "aside", _("set aside")
        return ("waiting", _("waiting")) if event.due_at else ("told", _("told"))

    @admin.display(description=_("state"))
    def standing(self, event: Event) -> str:
        return str(self.state(event)[1])

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # There is nothing to type: what is done with an event is an action.
        context |= {"show_save": False, "show_save_and_continue": False, "show_save_and_add_another": False}
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description=_("Try again"), permissions=["change"])
    def try_again(self, request: HttpRequest, queryset: models.QuerySet[Event]) -> None:
        again = 0
        for event in queryset:
            if events.retry(event.pk):
                again += 1
                recorder.record("event.taken_up", actor=request.user, subject=event.pk)
        self.message_user(request, _("%(number)d events wait for the relay again.") % {"number": again})
