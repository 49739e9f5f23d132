"""Admin pages of appointments: the list of a day, the pages of one appointment, and actions on several of them."""

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

from accounts.models import User
from accounts.sessions import user_of
from appointments import queries, services
from appointments.diary import slots_page, week_page
from appointments.models import Appointment, Status
from appointments.permissions import MAY_COMPLETE
from appointments.serializers import AppointmentChanges, AppointmentIn
from appointments.tables import AppointmentTable
from doctors import queries as doctor_queries
from doctors.admin import DOCTOR_LINKS
from doctors.models import Doctor
from healthcare import audit_context, clock
from healthcare.errors import DomainError, required
from healthcare.staff_admin.autocomplete import AutocompleteField
from healthcare.staff_admin.forms import ResourceForm
from healthcare.staff_admin.import_export import ImportExportAdmin
from healthcare.staff_admin.site import hospital_site
from patients import queries as patient_queries
from patients.admin import PATIENT_LINKS, TIMELINE_SOURCES, PatientLink, TimelineEntry
from patients.models import Patient

#: Functions of other apps that return a link for an appointment's page, or None if the user may not follow it.
APPOINTMENT_LINKS: list[Callable[[HttpRequest, Appointment], tuple[Any, str] | None]] = []

#: Final status → the sentence that explains the status to users.
STATUS_EXPLANATIONS = {
    Status.COMPLETED: _("The visit took place. This is final and creates a bill."),
    Status.CANCELLED: _("The time becomes free for others immediately. A cancelled visit cannot be scheduled again."),
}


class VisitRequest(HttpRequest):
    """A request about one appointment, with that appointment, so that several permission checks read it once."""

    visit: Appointment | None


class AppointmentForm(ResourceForm):
    new, changes = AppointmentIn, AppointmentChanges
    patient_id = AutocompleteField(label=_("Patient"), url_name="admin:patients_patient_autocomplete")
    doctor_id = AutocompleteField(label=_("Doctor"), url_name="admin:doctors_doctor_autocomplete")
    duration_minutes = forms.IntegerField(
        label=_("Minutes"),
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("Leave empty for the doctor's usual length."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "time" in self.fields:
            self.fields["time"].help_text = _(
                "HH:MM in the doctor's time zone. Leave empty for a visit without a time."
            )
        if "appointment_id" in self.fields:
            self.fields["appointment_id"].required = False
            self.fields["appointment_id"].help_text = _("Leave empty to have the system create an id.")


class DayFilter(admin.SimpleListFilter):
    """Filters by day: `?day=2026-11-23`, or one of the words below. The default is today.

    With a search the default is all days, because users search for a person and not for a day.
    """

    title = _("day")
    parameter_name = "day"
    #: Word → the first and the last day, counted from today. None means all days.
    words: dict[str, tuple[int, int] | None] = {
        "yesterday": (-1, -1), "today": (0, 0), "tomorrow": (1, 1), "week": (0, 6), "all": None,
    }  # fmt: skip

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, Any]]:
        return [
            ("yesterday", _("Yesterday")), ("today", _("Today")), ("tomorrow", _("Tomorrow")),
            ("week", _("The next seven days")), ("all", _("All days")),
        ]  # fmt: skip

    def choices(self, changelist: Any) -> Any:
        selected = self.value() or ("all" if changelist.query else "today")
        for word, title in self.lookup_choices:
            query = changelist.get_query_string({self.parameter_name: word})
            yield {"selected": word == selected, "query_string": query, "display": title}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> QuerySet[Appointment]:
        days = self._days(self.value() or ("all" if request.GET.get("q", "").strip() else "today"))
        return queryset if days is None else queryset.filter(date__gte=days[0], date__lte=days[1])

    def _days(self, text: str) -> tuple[date, date] | None:
        if text in self.words:
            bounds, today = self.words[text], localdate()
            return None if bounds is None else (today + timedelta(days=bounds[0]), today + timedelta(days=bounds[1]))
        try:
            day = date.fromisoformat(text)
        except ValueError as error:
            # Django then shows the list without filters.
            raise IncorrectLookupParameters from error
        return day, day


@admin.register(Appointment)
class AppointmentAdmin(ImportExportAdmin):
    resource = "appointment"
    table = AppointmentTable
    doctor_permissions = frozenset({"view", "add", "change"})
    action_names = {"add": "booked", "week": "listed"}
    form = AppointmentForm
    list_display = ("appointment_id", "date", "local_time", "doctor_id", "patient_id", "state", "disease")
    list_filter = (DayFilter, "status")
    actions = ("complete_visits", "cancel_visits")
    search_fields = ("appointment_id", "patient_id", "doctor_id")
    search_help_text = _("The id of the appointment, the patient or the doctor.")
    ordering = ("-date", "-time", "-appointment_id")
    fixed_fields = ("appointment_id", "patient_id", "doctor_id")
    computed_fields = ("starts", "created")
    actions_detail = ("complete", "cancel", "move")
    change_form_before_template = "admin/links.html"

    class Media:
        js = ("healthcare/autocomplete.js", "appointments/slots.js")

    def get_urls(self) -> list[URLPattern]:
        """Add the pages of `appointments.diary`."""
        wrap = self.admin_site.admin_view
        return [
            path("slots/", wrap(slots_page), name="appointments_appointment_slots"),
            path("week/<str:doctor_id>/", wrap(week_page), name="appointments_appointment_week"),
            *super().get_urls(),
        ]

    def get_fields(self, request: HttpRequest, obj: object = None) -> Any:
        if obj is None:
            # Status is left out, because a new appointment is always scheduled.
            return (
                "patient_id",
                "doctor_id",
                "free_slots",
                "date",
                "time",
                "duration_minutes",
                "disease",
                "appointment_id",
            )
        return super().get_fields(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> tuple[str, ...]:
        return (*super().get_readonly_fields(request, obj), *(() if obj else ("free_slots",)))

    @admin.display(description=_("free slots"))
    def free_slots(self, obj: object) -> SafeString:
        """Return the element in which slots.js shows the free slots."""
        return format_html(
            '<div data-slots="{}" data-hint="{}" aria-live="polite"></div>',
            reverse("admin:appointments_appointment_slots"),
            _("Choose a doctor to see the free slots."),
        )

    def visible_to(self, user: User) -> QuerySet[Appointment]:
        return queries.visible_to(user).as_queryset()

    def is_of_doctor(self, user: User, obj: Appointment) -> bool:
        return obj.doctor_id == doctor_queries.own_doctor_id(user)

    def create(self, actor: User, **values: Any) -> Appointment:
        return services.book_appointment(actor=actor, **values)

    def change(self, actor: User, key: str, **values: Any) -> Appointment:
        return services.change_appointment(actor=actor, appointment_id=key, **values)

    def remove(self, actor: User, key: str) -> None:
        services.delete_appointment(actor=actor, appointment_id=key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Appointment], search_term: str
    ) -> tuple[QuerySet[Appointment], bool]:
        key = search_term.strip()
        wanted = Q(appointment_id=key) | Q(patient_id=key) | Q(doctor_id=key)
        return (queryset.filter(wanted) if key else queryset), False

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Sort a day from morning to evening, and all days by the latest first."""
        day = request.GET.get(DayFilter.parameter_name)
        is_everything = day == "all" if day else bool(request.GET.get("q", "").strip())
        return self.ordering if is_everything else ("date", "time", "appointment_id")

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        visit = kwargs.get("obj")
        if visit is not None:
            context["links"] = [link for each in APPOINTMENT_LINKS if (link := each(request, visit))]
        return super().render_change_form(request, context, *args, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Take the patient, the doctor and the time from a link, and ignore all its other parameters."""
        given = super().get_changeform_initial_data(request)
        return {name: given[name] for name in ("patient_id", "doctor_id", "date", "time") if name in given}

    @admin.display(description=_("time"), ordering="time")
    def local_time(self, visit: Appointment) -> str:
        """Return the time in the doctor's time zone, with its offset from UTC."""
        if not visit.time or visit.starts_at is None:
            return visit.time
        local = datetime.combine(visit.date, time.fromisoformat(visit.time), tzinfo=UTC)
        return f"{visit.time}\N{NO-BREAK SPACE}{timezone(local - visit.starts_at).tzname(None).replace('-', '−')}"

    @admin.display(description=_("starts at"))
    def starts(self, visit: Appointment) -> str:
        """Return the start in the browser's time zone."""
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
        return self._set_status_of_selected(request, queryset, Status.COMPLETED)

    @admin.action(description=_("Cancel, and list the patients to call"), permissions=["change"])
    def cancel_visits(self, request: HttpRequest, queryset: QuerySet[Appointment]) -> HttpResponse | None:
        return self._set_status_of_selected(request, queryset, Status.CANCELLED)

    # Actions on one appointment, by buttons on its page. A dialog asks for confirmation and sends a POST.

    def _scheduled_visit(self, request: VisitRequest, object_id: str | None) -> Appointment | None:
        """Return the appointment if it is scheduled and the user may change it."""
        if not hasattr(request, "visit"):
            request.visit = self.get_object(request, unquote(str(object_id)))
        visit = request.visit
        is_open = visit is not None and visit.status == Status.SCHEDULED and self.has_change_permission(request, visit)
        return visit if is_open else None

    def has_end_permission(self, request: VisitRequest, object_id: str | None = None) -> bool:
        return self._scheduled_visit(request, object_id) is not None

    def has_complete_permission(self, request: VisitRequest, object_id: str | None = None) -> bool:
        return getattr(request.user, "role", "") in MAY_COMPLETE and self.has_end_permission(request, object_id)

    @action(
        description=_("Complete"),
        permissions=["complete"],
        icon="task_alt",
        variant=ActionVariant.SUCCESS,
        dialog={
            "title": _("Complete this visit?"),
            "description": STATUS_EXPLANATIONS[Status.COMPLETED],
            "form_submit_text": _("Complete the visit"),
        },
    )
    def complete(self, request: HttpRequest, form: object, object_id: str) -> HttpResponse:
        return self._set_status(request, object_id, Status.COMPLETED)

    @action(
        description=_("Cancel"),
        permissions=["end"],
        icon="event_busy",
        variant=ActionVariant.DANGER,
        dialog={
            "title": _("Cancel this visit?"),
            "description": STATUS_EXPLANATIONS[Status.CANCELLED],
            "form_submit_text": _("Cancel the visit"),
        },
    )
    def cancel(self, request: HttpRequest, form: object, object_id: str) -> HttpResponse:
        return self._set_status(request, object_id, Status.CANCELLED)

    def _set_status(self, request: HttpRequest, object_id: str, status: Status) -> HttpResponse:
        key = unquote(object_id)
        with self.report_domain_errors(request):
            visit = services.change_appointment(actor=user_of(request), appointment_id=key, status=status)
            self.message_user(request, _("The visit is %(status)s.") % {"status": visit.get_status_display()})
        return self.redirect_to_row(request, object_id)

    @action(description=_("Move"), permissions=["end"], icon="event_repeat")
    def move(self, request: VisitRequest, object_id: str) -> HttpResponse:
        """Move the appointment to another of the doctor's free slots."""
        visit = required(request.visit)
        fields = ("date", "time", "duration_minutes")
        form = self.get_form(request, visit, change=True, fields=fields)(request.POST or None, instance=visit)
        when = f"{visit.date:%Y-%m-%d} {visit.time}"
        if request.method == "POST" and form.is_valid():
            try:
                if form.validated:
                    visit = self.change(user_of(request), visit.pk, **form.validated)
                    text = _("The visit is on %(when)s now.") % {"when": f"{visit.date:%Y-%m-%d} {visit.time}"}
                    self.message_user(request, text, messages.SUCCESS)
                return HttpResponseRedirect(reverse("admin:appointments_appointment_change", args=[visit.pk]))
            except DomainError as error:
                audit_context.mark_refused(error.code)
                form.add_error(error.field if error.field in form.fields else None, error.detail)
        patient = patient_queries.visible_to(user_of(request)).filter(pk=visit.patient_id).as_queryset().first()
        audit_context.record_access("patient.viewed", [patient.pk] if patient else [])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Move a visit"),
            "form": form,
            "media": self.media + form.media,
            "visit": visit,
            "patient_name": patient.name if patient else visit.patient_id,
            "when": when,
            # None if the user may not see doctors. The page then shows the doctor's id.
            "doctor": doctor_queries.visible_to(user_of(request)).filter(pk=visit.doctor_id).as_queryset().first(),
        }
        return TemplateResponse(request, "admin/appointment_move.html", context)

    def _set_status_of_selected(
        self, request: HttpRequest, queryset: QuerySet[Appointment], status: Status
    ) -> HttpResponse | None:
        """Ask for confirmation, then set the final status of each selected appointment, and report the errors.

        Both steps are POSTs of the list's form, so no link changes an appointment.
        """
        visits = self.selected_rows(request, queryset)
        is_cancelling = status == Status.CANCELLED
        if not visits:
            return None
        if "confirmed" not in request.POST:
            return self._visits_page(
                request,
                visits,
                title=_("Cancel these visits?") if is_cancelling else _("Complete these visits?"),
                explanation=STATUS_EXPLANATIONS[status],
                button=_("Cancel the visits") if is_cancelling else _("Complete the visits"),
            )
        changed = self.apply_to_rows(request, visits, partial(_change_status, user_of(request), status))
        if changed:
            texts = {
                Status.COMPLETED: ngettext("%(n)d visit was completed.", "%(n)d visits were completed.", len(changed)),
                Status.CANCELLED: ngettext("%(n)d visit was cancelled.", "%(n)d visits were cancelled.", len(changed)),
            }
            self.message_user(request, texts[status] % {"n": len(changed)}, messages.SUCCESS)
        if not (changed and is_cancelling):
            return None
        explanation = _("These visits were cancelled. Call the patients, because the system does not notify them.")
        return self._visits_page(request, changed, title=_("Patients to call"), explanation=explanation)

    def _visits_page(self, request: HttpRequest, visits: list[Appointment], **texts: Any) -> HttpResponse:
        """Return a page with the appointments, and with the patients' names if the user may see patients."""
        keys = {visit.patient_id for visit in visits}
        visible = patient_queries.visible_to(user_of(request)).filter(pk__in=keys)
        patients = {patient.pk: patient for patient in visible.as_queryset()}
        audit_context.record_access("patient.listed", patients)

        def cells(visit: Appointment) -> tuple[Any, ...]:
            patient = patients.get(visit.patient_id)
            name = f"{patient.name} ({visit.patient_id})" if patient else visit.patient_id
            when = f"{visit.date:%Y-%m-%d} {visit.time}"
            return when, visit.doctor_id, name, patient.phone if patient else "", visit.get_status_display()

        headings = (_("when"), _("doctor"), _("patient"), _("phone"), _("status"))
        return self.selected_rows_page(request, visits, headings=headings, cells=cells, **texts)


def _change_status(actor: User, status: Status, visit: Appointment) -> Appointment:
    return services.change_appointment(actor=actor, appointment_id=visit.pk, status=status)


def _may_book(request: HttpRequest) -> bool:
    return admin.site.get_model_admin(Appointment).has_add_permission(request)


def _timeline_entries(request: HttpRequest, patient: Patient) -> Iterator[TimelineEntry]:
    """Yield the appointments of the chart. Doctors get links to their own only."""
    pages = admin.site.get_model_admin(Appointment)
    if not pages.has_view_permission(request):
        return
    own = doctor_queries.own_doctor_id(user_of(request))
    is_doctor = getattr(request.user, "role", "") == "doctor"
    for visit in patient.appointments:
        may_open = not is_doctor or visit.doctor_id == own
        parts = (Status(visit.status).label, visit.doctor_id, visit.disease)
        yield TimelineEntry(
            day=visit.date,
            time=visit.time,
            kind="visit",
            label=_("Visit"),
            text=", ".join(str(part) for part in parts if part),
            path=reverse("admin:appointments_appointment_change", args=[visit.appointment_id]) if may_open else None,
        )


def _week_link(request: HttpRequest, doctor: Doctor) -> tuple[Any, str] | None:
    """Return a link to a doctor's week. Doctors get a link to their own only."""
    pages = admin.site.get_model_admin(Appointment)
    is_doctor = getattr(request.user, "role", "") == "doctor"
    is_allowed = not is_doctor or doctor.user_id == request.user.pk
    if not (pages.has_view_permission(request) and is_allowed):
        return None
    return _("Week"), reverse("admin:appointments_appointment_week", args=[doctor.pk])


PATIENT_LINKS.append(PatientLink(_("Book a visit"), "admin:appointments_appointment_add", _may_book))
TIMELINE_SOURCES.append(_timeline_entries)
DOCTOR_LINKS.append(_week_link)


def _dashboard_figures(request: HttpRequest) -> dict[str, Any]:
    """Return figures about today's visits and this week's cancellations. Doctors get those of their own visits."""
    if not admin.site.get_model_admin(Appointment).has_view_permission(request):
        return {}
    visible, today = queries.visible_to(user_of(request)).as_queryset(), localdate()
    # Counts name no patient, but the audit log has an entry for them.
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
            *_free_slots_figure(request),
            (
                _("Cancelled this week"),
                this_week,
                _("%(number)d last week") % {"number": last_week},
                f"{path}?day=week&status__exact=cancelled",
            ),
        ]
    }


def _free_slots_figure(request: HttpRequest) -> list[tuple[Any, ...]]:
    """Return the figure about today's free slots, for users who may book. Doctors get that of their own slots."""
    if not _may_book(request):
        return []
    doctors = doctor_queries.matching(user_of(request), available=True).as_queryset()
    own = doctor_queries.own_doctor_id(user_of(request))
    path = reverse("admin:appointments_appointment_add")
    if getattr(request.user, "role", "") == "doctor":
        doctors = doctors.filter(pk=own)
        path = reverse("admin:appointments_appointment_week", args=[own]) if own else path
    number = queries.count_free_today(doctor_queries.schedules_of(doctors))
    return [(_("Free slots today"), number, _("still to come"), path)]


hospital_site().add_to_dashboard(_dashboard_figures)
