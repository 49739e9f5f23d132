"""Appointments in the staff's admin: the list of a day, and what is done with several visits at once."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import localdate
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from appointments import queries, services
from appointments.diary import slots_page, week_page
from appointments.models import Appointment, Status
from appointments.permissions import MAY_COMPLETE
from appointments.serializers import AppointmentChanges, AppointmentIn
from appointments.tables import AppointmentTable
from doctors import queries as doctor_queries
from doctors.admin import LINKS as DOCTOR_LINKS
from doctors.models import Doctor
from healthcare import audit_context, clock
from healthcare.errors import DomainError
from healthcare.staff_admin.autocomplete import AutocompleteField
from healthcare.staff_admin.forms import ResourceForm
from healthcare.staff_admin.import_export import ImportExportAdmin
from patients import queries as patient_queries
from patients.admin import LINKS, TIMELINE, Happening, Link
from patients.models import Patient

#: What the rooms behind this one put on a visit's page: a label and a path, or None for who may not go there.
VISIT_LINKS: list[Callable[[HttpRequest, Appointment], tuple[Any, str] | None]] = []

#: Of no interest to most, so the last on the form.
KEY_LAST = ("appointment_id",)
#: What it means that a visit ends so.
ENDING = {
    Status.COMPLETED: _("That it took place is final, and bills it."),
    Status.CANCELLED: _("Its time is free for others at once, and it cannot be scheduled again."),
}


class AppointmentForm(ResourceForm):
    new, changes = AppointmentIn, AppointmentChanges
    patient_id = AutocompleteField(label=_("Patient"), page="admin:patients_patient_find")
    doctor_id = AutocompleteField(label=_("Doctor"), page="admin:doctors_doctor_find")
    duration_minutes = forms.IntegerField(
        label=_("Minutes"),
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
            bounds, today = self.words[asked], localdate()
            return None if bounds is None else (today + timedelta(days=bounds[0]), today + timedelta(days=bounds[1]))
        try:
            day = date.fromisoformat(asked)
        except ValueError as error:
            # The list shows itself without.
            raise IncorrectLookupParameters from error
        return day, day


@admin.register(Appointment)
class AppointmentAdmin(ImportExportAdmin):
    resource = "appointment"
    table = AppointmentTable
    for_doctors = frozenset({"view", "add", "change"})
    action_names = {"add": "booked", "week": "listed"}
    form = AppointmentForm
    list_display = ("appointment_id", "date", "wall_time", "doctor_id", "patient_id", "state", "disease")
    list_filter = (DayFilter, "status")
    actions = ("complete_visits", "cancel_visits")
    search_fields = ("appointment_id", "patient_id", "doctor_id")
    search_help_text = _("The id of the appointment, the patient or the doctor.")
    ordering = ("-date", "-time", "-appointment_id")
    fixed_fields = ("appointment_id", "patient_id", "doctor_id")
    computed_fields = ("begins", "made")
    actions_detail = ("complete", "cancel", "move")
    change_form_before_template = "admin/links.html"

    class Media:
        js = ("healthcare/find.js", "appointments/slots.js")

    def get_urls(self) -> list[URLPattern]:
        """The pages of `appointments.diary` besides."""
        wrap = self.admin_site.admin_view
        return [
            path("slots/", wrap(slots_page), name="appointments_appointment_slots"),
            path("week/<str:doctor_id>/", wrap(week_page), name="appointments_appointment_week"),
            *super().get_urls(),
        ]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            # Status: a new one is scheduled.
            return ("patient_id", "doctor_id", "free_slots", "date", "time", "duration_minutes", "disease", *KEY_LAST)
        return super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), *(() if obj else ("free_slots",)))

    @admin.display(description=_("free slots"))
    def free_slots(self, obj: Any) -> SafeString:
        """The place that `slots.js` fills."""
        return format_html(
            '<div data-slots="{}" data-hint="{}" aria-live="polite"></div>',
            reverse("admin:appointments_appointment_slots"),
            _("Choose a doctor to see what is free."),
        )

    def visible_to(self, user: Any) -> QuerySet[Appointment]:
        return queries.visible_to(user).as_queryset()

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

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        visit = kwargs.get("obj")
        if visit is not None:
            context["links"] = [link for each in VISIT_LINKS if (link := each(request, visit))]
        return super().render_change_form(request, context, *args, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A link may say whom and when a visit is for; what else stands in it is not taken."""
        given = super().get_changeform_initial_data(request)
        return {name: given[name] for name in ("patient_id", "doctor_id", "date", "time") if name in given}

    @admin.display(description=_("time"), ordering="time")
    def wall_time(self, visit: Appointment) -> str:
        """As people say it where the doctor works, and how far that clock is from UTC."""
        if not visit.time or visit.starts_at is None:
            return visit.time
        wall = datetime.combine(visit.date, time.fromisoformat(visit.time), tzinfo=UTC)
        return f"{visit.time}\N{NO-BREAK SPACE}{timezone(wall - visit.starts_at).tzname(None).replace('-', '−')}"

    @admin.display(description=_("starts at"))
    def begins(self, visit: Appointment) -> str:
        """On the reader's clock."""
        return clock.display(visit.starts_at)

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

    # What is done with one visit, from buttons on its page: asked in a dialog, done by its POST.

    def _scheduled(self, request: HttpRequest, object_id: Any) -> Appointment | None:
        """The visit, when it is one that the account may still change."""
        if not hasattr(request, "visit"):
            request.visit = self.get_object(request, unquote(str(object_id)))  # type: ignore[attr-defined]
        visit: Appointment | None = request.visit  # type: ignore[attr-defined]
        is_open = visit is not None and visit.status == Status.SCHEDULED and self.has_change_permission(request, visit)
        return visit if is_open else None

    def has_end_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return self._scheduled(request, object_id) is not None

    def has_complete_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return getattr(request.user, "role", "") in MAY_COMPLETE and self.has_end_permission(request, object_id)

    @action(
        description=_("Complete"),
        permissions=["complete"],
        icon="task_alt",
        variant=ActionVariant.SUCCESS,
        dialog={
            "title": _("Complete this visit?"),
            "description": ENDING[Status.COMPLETED],
            "form_submit_text": _("Complete the visit"),
        },
    )
    def complete(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._end_one(request, object_id, Status.COMPLETED)

    @action(
        description=_("Cancel"),
        permissions=["end"],
        icon="event_busy",
        variant=ActionVariant.DANGER,
        dialog={
            "title": _("Cancel this visit?"),
            "description": ENDING[Status.CANCELLED],
            "form_submit_text": _("Cancel the visit"),
        },
    )
    def cancel(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        return self._end_one(request, object_id, Status.CANCELLED)

    def _end_one(self, request: HttpRequest, object_id: str, status: Status) -> HttpResponse:
        key = unquote(object_id)
        with self.telling(request):
            visit = services.change_appointment(actor=request.user, appointment_id=key, status=status)  # type: ignore[arg-type]
            self.message_user(request, _("The visit is %(status)s.") % {"status": visit.get_status_display()})
        return self.back_to(request, object_id)

    @action(description=_("Move"), permissions=["end"], icon="event_repeat")
    def move(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Another day and time, chosen from the doctor's free slots."""
        visit = request.visit  # type: ignore[attr-defined]
        fields = ("date", "time", "duration_minutes")
        form = self.get_form(request, visit, change=True, fields=fields)(request.POST or None, instance=visit)
        when = f"{visit.date:%Y-%m-%d} {visit.time}"
        if request.method == "POST" and form.is_valid():
            try:
                if form.validated:
                    visit = self.change(request.user, visit.pk, **form.validated)
                    moved = _("The visit is on %(when)s now.") % {"when": f"{visit.date:%Y-%m-%d} {visit.time}"}
                    self.message_user(request, moved, messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:appointments_appointment_change", args=[visit.pk]))
            except DomainError as refusal:
                audit_context.mark_refused(refusal.code)
                form.add_error(refusal.field if refusal.field in form.fields else None, refusal.detail)
        patient = patient_queries.visible_to(request.user).filter(pk=visit.patient_id).as_queryset().first()  # type: ignore[arg-type]
        audit_context.record_access("patient.viewed", [patient.pk] if patient else [])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Move a visit"),
            "form": form,
            "media": self.media + form.media,
            "visit": visit,
            "who": patient.name if patient else visit.patient_id,
            "when": when,
            # As the dialog's slots: to those who may see doctors.
            "doctor": doctor_queries.visible_to(request.user).filter(pk=visit.doctor_id).as_queryset().first(),  # type: ignore[arg-type]
        }
        return TemplateResponse(request, "admin/appointment_move.html", context)

    def _end(self, request: HttpRequest, queryset: QuerySet[Appointment], status: Status) -> HttpResponse | None:
        """Ask first, then give each of the chosen visits its final status; one that is refused says why.

        Both steps are POSTs of the list's own form, so nothing ends by following a link.
        """
        visits = self.chosen(request, queryset)
        is_cancelling = status == Status.CANCELLED
        if not visits:
            return None
        if "confirmed" not in request.POST:
            return self._show(
                request,
                visits,
                title=_("Cancel these visits?") if is_cancelling else _("Complete these visits?"),
                explanation=ENDING[status],
                button=_("Cancel the visits") if is_cancelling else _("Complete the visits"),
            )
        ended = self.apply(request, visits, partial(_give, request.user, status))
        if ended:
            done = {
                Status.COMPLETED: ngettext("%(n)d visit was completed.", "%(n)d visits were completed.", len(ended)),
                Status.CANCELLED: ngettext("%(n)d visit was cancelled.", "%(n)d visits were cancelled.", len(ended)),
            }
            self.message_user(request, done[status] % {"n": len(ended)}, messages.SUCCESS)
        if not (ended and is_cancelling):
            return None
        called = _("These visits were cancelled. The patients do not know yet.")
        return self._show(request, ended, title=_("Whom to call"), explanation=called)

    def _show(self, request: HttpRequest, visits: list[Appointment], **texts: Any) -> HttpResponse:
        """The visits with their patients, as far as the reader may see patients."""
        keys = {visit.patient_id for visit in visits}
        found = {each.pk: each for each in patient_queries.visible_to(request.user).filter(pk__in=keys).as_queryset()}  # type: ignore[arg-type]
        audit_context.record_access("patient.listed", found)

        def cells(visit: Appointment) -> tuple[Any, ...]:
            patient = found.get(visit.patient_id)
            name = f"{patient.name} ({visit.patient_id})" if patient else visit.patient_id
            when = f"{visit.date:%Y-%m-%d} {visit.time}"
            return when, visit.doctor_id, name, patient.phone if patient else "", visit.get_status_display()

        headings = (_("when"), _("doctor"), _("patient"), _("phone"), _("status"))
        return self.show_chosen(request, visits, headings=headings, cells=cells, **texts)


def _give(actor: Any, status: Status, visit: Appointment) -> Appointment:
    return services.change_appointment(actor=actor, appointment_id=visit.pk, status=status)


def _may_book(request: HttpRequest) -> bool:
    return admin.site.get_model_admin(Appointment).has_add_permission(request)


def _visits(request: HttpRequest, patient: Patient) -> Iterator[Happening]:
    """The chart's visits; a doctor follows the way to their own."""
    pages = admin.site.get_model_admin(Appointment)
    if not pages.has_view_permission(request):
        return
    own = doctor_queries.own_doctor_id(request.user)  # type: ignore[arg-type]
    is_doctor = getattr(request.user, "role", "") == "doctor"
    for visit in patient.appointments:
        may_open = not is_doctor or visit.doctor_id == own
        parts = (Status(visit.status).label, visit.doctor_id, visit.disease)
        yield Happening(
            day=visit.date,
            time=visit.time,
            kind="visit",
            label=_("Visit"),
            text=", ".join(str(part) for part in parts if part),
            path=reverse("admin:appointments_appointment_change", args=[visit.appointment_id]) if may_open else None,
        )


def _week(request: HttpRequest, doctor: Doctor) -> tuple[Any, str] | None:
    """The way to a doctor's diary; a doctor has one to their own."""
    pages = admin.site.get_model_admin(Appointment)
    is_doctor = getattr(request.user, "role", "") == "doctor"
    is_theirs = not is_doctor or doctor.user_id == request.user.pk
    if not (pages.has_view_permission(request) and is_theirs):
        return None
    return _("Week"), reverse("admin:appointments_appointment_week", args=[doctor.pk])


LINKS.append(Link(_("Book a visit"), "admin:appointments_appointment_add", _may_book))
TIMELINE.append(_visits)
DOCTOR_LINKS.append(_week)


def _figures(request: HttpRequest) -> dict[str, Any]:
    """The dashboard's part: today's visits, and the cancellations of this week against the last; a doctor's own."""
    if not admin.site.get_model_admin(Appointment).has_view_permission(request):
        return {}
    visible, today = queries.visible_to(request.user).as_queryset(), localdate()  # type: ignore[arg-type]
    # Nobody is named; that somebody counted is on record.
    audit_context.record_access("appointment.counted")
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
            *_free_slots(request),
            (
                _("Cancelled this week"),
                this_week,
                _("%(number)d last week") % {"number": last_week},
                f"{path}?day=week&status__exact=cancelled",
            ),
        ]
    }


def _free_slots(request: HttpRequest) -> list[tuple[Any, ...]]:
    """Of the doctors who take patients, for those who book; a doctor's own."""
    if not _may_book(request):
        return []
    doctors = doctor_queries.matching(request.user, available=True).as_queryset()  # type: ignore[arg-type]
    own = doctor_queries.own_doctor_id(request.user)  # type: ignore[arg-type]
    path = reverse("admin:appointments_appointment_add")
    if getattr(request.user, "role", "") == "doctor":
        doctors = doctors.filter(pk=own)
        path = reverse("admin:appointments_appointment_week", args=[own]) if own else path
    number = queries.count_free_today(doctor_queries.schedules_of(doctors))
    return [(_("Free slots today"), number, _("still to come"), path)]


admin.site.add_to_dashboard(_figures)  # type: ignore[attr-defined]
