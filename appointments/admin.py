"""Appointments in the staff's admin: the list of a day, and what is done with several visits at once."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from appointments import queries, services
from appointments.models import Appointment, Status
from appointments.serializers import AppointmentChanges, AppointmentIn
from doctors import queries as doctor_queries
from healthcare import trail
from healthcare.admin import RoomAdmin, RoomForm
from healthcare.exceptions import Refusal
from patients import queries as patient_queries
from patients.admin import LINKS, Link

#: Visits that are ended by one click: a doctor's day, not the whole list.
AT_ONCE = 200


class AppointmentForm(RoomForm):
    new, changes = AppointmentIn, AppointmentChanges
    duration_minutes = forms.IntegerField(
        label=_("minutes"),
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("The doctor's usual length when left empty."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "time" in self.fields:
            self.fields["time"].help_text = _("HH:MM where the doctor works; empty for an untimed visit.")
        if "appointment_id" in self.fields:
            self.fields["appointment_id"].required = False
            self.fields["appointment_id"].help_text = _("Made by the system when left empty.")


class DayFilter(admin.SimpleListFilter):
    """The visits of a day, today's unless another is asked for: `?day=2026-11-23`, or one of the words below.

    A search looks at all days, as whoever searches has somebody in mind and not a day.
    """

    title = _("day")
    parameter_name = "day"
    #: Word → the first and the last day, counted from today; None: all of them.
    words: dict[str, tuple[int, int] | None] = {
        "yesterday": (-1, -1), "today": (0, 0), "tomorrow": (1, 1), "week": (0, 6), "all": None,
    }  # fmt: skip

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("yesterday", _("Yesterday")), ("today", _("Today")), ("tomorrow", _("Tomorrow")),
            ("week", _("The next seven days")), ("all", _("All days")),
        ]  # fmt: skip

    def choices(self, changelist: Any) -> Any:
        shown = self.value() or ("all" if changelist.query else "today")
        for word, title in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: word})
            yield {"selected": word == shown, "query_string": query, "display": title}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> QuerySet[Appointment]:
        days = self._days(self.value() or ("all" if request.GET.get("q", "").strip() else "today"))
        return queryset if days is None else queryset.filter(date__gte=days[0], date__lte=days[1])

    def _days(self, asked: str) -> tuple[date, date] | None:
        if asked in self.words:
            bounds, today = self.words[asked], timezone.localdate()
            return None if bounds is None else (today + timedelta(days=bounds[0]), today + timedelta(days=bounds[1]))
        try:
            day = date.fromisoformat(asked)
        except ValueError as error:
            # The list shows itself without.
            raise IncorrectLookupParameters from error
        return day, day


@admin.register(Appointment)
class AppointmentAdmin(RoomAdmin):
    noun = "appointment"
    for_doctors = frozenset({"view", "add", "change"})
    verbs = {"add": "booked"}
    form = AppointmentForm
    list_display = ("appointment_id", "date", "time", "doctor_id", "patient_id", "state", "disease")
    list_filter = (DayFilter, "status")
    actions = ("complete_visits", "cancel_visits")
    search_fields = ("appointment_id", "patient_id", "doctor_id")
    search_help_text = _("The id of the appointment, the patient or the doctor.")
    ordering = ("-date", "-time", "-appointment_id")
    fixed_fields = ("appointment_id", "patient_id", "doctor_id")
    computed_fields = ("starts_at", "created_at")

    def visible_to(self, user: Any) -> QuerySet[Appointment]:
        return queries.visible_to(user)

    def is_of_doctor(self, user: Any, obj: Appointment) -> bool:
        return obj.doctor_id == doctor_queries.own_doctor_id(user)

    def create(self, actor: Any, **values: Any) -> Appointment:
        return services.book_appointment(actor=actor, **values)

    def change(self, actor: Any, key: Any, **values: Any) -> Appointment:
        return services.change_appointment(actor=actor, appointment_id=key, **values)

    def remove(self, actor: Any, key: Any) -> None:
        services.delete_appointment(actor=actor, appointment_id=key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Appointment], search_term: str
    ) -> tuple[QuerySet[Appointment], bool]:
        key = search_term.strip()
        wanted = Q(appointment_id=key) | Q(patient_id=key) | Q(doctor_id=key)
        return (queryset.filter(wanted) if key else queryset), False

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """A day from morning to evening; all days, the latest first."""
        asked = request.GET.get(DayFilter.parameter_name)
        is_everything = asked == "all" if asked else bool(request.GET.get("q", "").strip())
        return self.ordering if is_everything else ("date", "time", "appointment_id")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A link may say whom and when a visit is for; what else stands in it is not taken."""
        given = super().get_changeform_initial_data(request)
        return {name: given[name] for name in ("patient_id", "doctor_id", "date", "time") if name in given}

    @display(
        description=_("status"),
        ordering="status",
        label={Status.SCHEDULED: "info", Status.COMPLETED: "success", Status.CANCELLED: "danger"},
    )
    def state(self, visit: Appointment) -> tuple[str, Any]:
        return visit.status, visit.get_status_display()

    @admin.action(description=_("Complete"), permissions=["change"])
    def complete_visits(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> HttpResponse | None:
        return self._end(request, queryset, Status.COMPLETED)

    @admin.action(description=_("Cancel, and list whom to call"), permissions=["change"])
    def cancel_visits(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> HttpResponse | None:
        return self._end(request, queryset, Status.CANCELLED)

    def _end(self, request: HttpRequest, queryset: QuerySet[Appointment], status: Status) -> HttpResponse | None:
        """Ask first, then give each of the chosen visits its final status; one that is refused says why.

        Both steps are POSTs of the list's own form, so nothing ends by following a link.
        """
        visits = list(queryset[: AT_ONCE + 1])
        if len(visits) > AT_ONCE:
            self.message_user(request, _("That are too many at once: choose a day and a doctor."), messages.ERROR)
            return None
        is_confirmed = "confirmed" in request.POST
        ended = self._apply(request, visits, status) if is_confirmed else []
        if is_confirmed and (status != Status.CANCELLED or not ended):
            return None
        shown = ended if is_confirmed else visits
        patients = self._patients(request, shown)
        trail.shown("appointment.listed", [visit.patient_id for visit in shown])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": self._title(status, is_confirmed),
            "is_confirmed": is_confirmed,
            "is_cancelling": status == Status.CANCELLED,
            "visits": [(visit, patients.get(visit.patient_id)) for visit in shown],
            "headings": (_("when"), _("doctor"), _("patient"), _("phone"), _("status")),
            "action": request.POST.get("action"),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/appointments_end.html", context)

    def _apply(self, request: HttpRequest, visits: list[Appointment], status: Status) -> list[Appointment]:
        """The visits that have it now; the others are sentences for the reader."""
        ended = []
        for visit in visits:
            try:
                ended.append(
                    services.change_appointment(actor=request.user, appointment_id=visit.pk, status=status)  # type: ignore[arg-type]
                )
            except Refusal as refusal:
                self.message_user(request, f"{visit.pk}: {refusal.detail}", messages.ERROR)
        if ended:
            done = {
                Status.COMPLETED: ngettext("%(n)d visit was completed.", "%(n)d visits were completed.", len(ended)),
                Status.CANCELLED: ngettext("%(n)d visit was cancelled.", "%(n)d visits were cancelled.", len(ended)),
            }
            self.message_user(request, done[status] % {"n": len(ended)}, messages.SUCCESS)
        return ended

    @staticmethod
    def _title(status: Status, is_confirmed: bool) -> Any:
        if is_confirmed:
            return _("Whom to call")
        return _("Cancel these visits?") if status == Status.CANCELLED else _("Complete these visits?")

    def _patients(self, request: HttpRequest, visits: list[Appointment]) -> dict[str, Any]:
        """The visits' patients, as far as the reader may see patients."""
        keys = {visit.patient_id for visit in visits}
        found = {each.pk: each for each in patient_queries.visible_to(request.user).filter(pk__in=keys)}  # type: ignore[arg-type]
        trail.shown("patient.listed", found)
        return found


def _may_book(request: HttpRequest) -> bool:
    return admin.site.get_model_admin(Appointment).has_add_permission(request)


LINKS.append(Link(_("Book a visit"), "admin:appointments_appointment_add", _may_book))


def _figures(request: HttpRequest) -> dict[str, Any]:
    """The dashboard's part: today's visits, and the cancellations of this week against the last; a doctor's own."""
    if not admin.site.get_model_admin(Appointment).has_view_permission(request):
        return {}
    visible, today = queries.visible_to(request.user), timezone.localdate()  # type: ignore[arg-type]
    # Nobody is named; that somebody counted is on record.
    trail.shown("appointment.counted")
    monday = today - timedelta(days=today.weekday())
    cancelled = visible.filter(status=Status.CANCELLED)
    this_week = cancelled.filter(date__gte=monday, date__lte=monday + timedelta(days=6)).count()
    last_week = cancelled.filter(date__gte=monday - timedelta(days=7), date__lt=monday).count()
    waiting = visible.filter(date=today, status=Status.SCHEDULED).count()
    done = visible.filter(date=today, status=Status.COMPLETED).count()
    path = reverse("admin:appointments_appointment_changelist")
    return {
        "figures": [
            (_("Visits today"), waiting + done, _("%(done)d completed") % {"done": done}, f"{path}?day=today"),
            (
                _("Cancelled this week"),
                this_week,
                _("%(number)d last week") % {"number": last_week},
                f"{path}?day=week&status__exact=cancelled",
            ),
        ]
    }


admin.site.add_to_dashboard(_figures)  # type: ignore[attr-defined]
