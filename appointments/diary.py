"""Pages of the admin about a doctor's time: the free slots that a form offers, and the diary of a week."""

from datetime import date, timedelta
from itertools import groupby
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from appointments import queries
from appointments.models import Appointment
from doctors import hours
from doctors import queries as doctor_queries
from doctors.models import Doctor
from healthcare import audit_context, clock
from healthcare.api.fields import EARLIEST, LATEST
from healthcare.errors import DomainError, required
from patients import queries as patient_queries

WEEK = timedelta(days=7)


def slots_page(request: HttpRequest) -> HttpResponse:
    """What the forms show beneath their fields: the free slots of a week, from `?from=` on, of `?doctor_id=`."""
    pages = admin.site.get_model_admin(Appointment)
    if not (pages.has_add_permission(request) or pages.has_change_permission(request)):
        raise PermissionDenied
    doctor = _doctor(request, request.GET.get("doctor_id", ""))
    today = hours.today_of(doctor)
    since = max(_day(request.GET.get("from")) or today, today)
    until = min(since + timedelta(days=6), LATEST)
    slots = _to_come(queries.free_slots(doctor.doctor_id, doctor, since=since, until=until))
    context = {
        "doctor": doctor,
        "days": [(day, [slot.time for slot in each]) for day, each in groupby(slots, key=lambda slot: slot.date)],
        "since": since,
        "until": until,
        "is_first": since == today,
        "earlier": max(since - WEEK, today),
        "later": min(since + WEEK, LATEST),
    }
    return TemplateResponse(request, "admin/appointment_slots.html", context)


def week_page(request: HttpRequest, doctor_id: str) -> HttpResponse:
    """A doctor's visits and free slots from a Monday to the Sunday after, of the day in `?week=`."""
    pages = admin.site.get_model_admin(Appointment)
    if not pages.has_view_permission(request):
        raise PermissionDenied
    own = doctor_queries.own_doctor_id(request.user)  # type: ignore[arg-type]
    doctor = _doctor(request, doctor_id)
    if getattr(request.user, "role", "") == "doctor" and own != doctor.pk:
        audit_context.mark_refused("not_found")
        raise Http404
    today = hours.today_of(doctor)
    shown = _day(request.GET.get("week")) or today
    monday = max(shown - timedelta(days=shown.weekday()), EARLIEST)
    visits = queries.visits_of_doctor(request.user, doctor.pk, monday, monday + timedelta(days=6))  # type: ignore[arg-type]
    _name_patients(request, visits)
    audit_context.record_access("appointment.listed", [visit.patient_id for visit in visits], subject=doctor.pk)
    context = {
        **admin.site.each_context(request),
        "opts": pages.opts,
        "title": _("Week of %(doctor)s") % {"doctor": doctor.name},
        "doctor": doctor,
        "days": _days(doctor, monday, visits),
        "may_book": pages.has_add_permission(request) and monday + WEEK > today,
        "earlier": max(monday - WEEK, EARLIEST),
        "later": min(monday + WEEK, LATEST - WEEK),
    }
    return TemplateResponse(request, "admin/appointment_week.html", context)


def _days(doctor: Doctor, monday: date, visits: list[Appointment]) -> list[dict[str, Any]]:
    """Each day's rows in the order of the clock: a time with its visit, or with None for a free slot."""
    today = hours.today_of(doctor)
    last = monday + timedelta(days=6)
    free = (
        _to_come(queries.free_slots(doctor.doctor_id, doctor, since=max(monday, today), until=last))
        if last >= today
        else []
    )
    days = []
    for number in range(7):
        day = monday + timedelta(days=number)
        rows: list[tuple[str, Appointment | None]] = [(visit.time, visit) for visit in visits if visit.date == day]
        rows += [(slot.time, None) for slot in free if slot.date == day]
        windows = hours.windows_on(doctor, day)
        days.append(
            {
                "date": day,
                "is_today": day == today,
                "is_closed": not windows and any(row.date == day and row.closed for row in doctor.exceptions),
                "hours": [f"{_clock(window.start)}–{_clock(window.end)}" for window in windows],
                "rows": sorted(rows, key=lambda row: row[0]),
            }
        )
    return days


def _to_come(slots: list[hours.Slot]) -> list[hours.Slot]:
    """Those that have not begun: of what is past nobody is asked whether it suits them."""
    now = clock.now()
    return [slot for slot in slots if slot.starts_at >= now]


def _name_patients(request: HttpRequest, visits: list[Appointment]) -> None:
    """Put the patient's name on each visit, as far as the reader may see patients."""
    keys = {visit.patient_id for visit in visits}
    found = dict(patient_queries.visible_to(request.user).filter(pk__in=keys).as_queryset().values_list("pk", "name"))  # type: ignore[arg-type]
    audit_context.record_access("patient.listed", found)
    for visit in visits:
        visit.patient_name = found.get(visit.patient_id)  # type: ignore[attr-defined]


def _doctor(request: HttpRequest, doctor_id: str) -> Doctor:
    try:
        return required(doctor_queries.visible_to(request.user).filter(pk=doctor_id).as_queryset().first())  # type: ignore[arg-type]
    except DomainError as refusal:
        audit_context.mark_refused(refusal.code)
        raise Http404(_("There is no such doctor.")) from refusal


def _day(text: str | None) -> date | None:
    """A day that a link names; what is none is as if there were no such part."""
    try:
        return min(max(date.fromisoformat(text or ""), EARLIEST), LATEST - WEEK)
    except ValueError:
        return None


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
