"""Admin pages about a doctor's time: the free slots below a form, and the diary of a week."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from accounts.sessions import user_of
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
    """Return the free slots of a doctor (`?doctor_id=`) for seven days from `?from=` on, as a part of a page."""
    model_admin = admin.site.get_model_admin(Appointment)
    if not (model_admin.has_add_permission(request) or model_admin.has_change_permission(request)):
        raise PermissionDenied
    doctor = _doctor(request, request.GET.get("doctor_id", ""))
    today = hours.today_of(doctor)
    since = max(_day(request.GET.get("from")) or today, today)
    until = min(since + timedelta(days=6), LATEST)
    slots = _upcoming(queries.free_slots(doctor.doctor_id, doctor, since=since, until=until))
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
    """Show a doctor's appointments and free slots in the week, from Monday to Sunday, of the day in `?week=`."""
    model_admin = admin.site.get_model_admin(Appointment)
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    own_id = doctor_queries.own_doctor_id(user_of(request))
    doctor = _doctor(request, doctor_id)
    if getattr(request.user, "role", "") == "doctor" and own_id != doctor.pk:
        audit_context.mark_refused("not_found")
        raise Http404
    today = hours.today_of(doctor)
    day = _day(request.GET.get("week")) or today
    monday = max(day - timedelta(days=day.weekday()), EARLIEST)
    visits = queries.visits_of_doctor(user_of(request), doctor.pk, monday, monday + timedelta(days=6))
    names = _patient_names(request, visits)
    audit_context.record_access("appointment.listed", [visit.patient_id for visit in visits], subject=doctor.pk)
    context = {
        **admin.site.each_context(request),
        "opts": model_admin.opts,
        "title": _("Week of %(doctor)s") % {"doctor": doctor.name},
        "doctor": doctor,
        "days": _days(doctor, monday, visits, names),
        "may_book": model_admin.has_add_permission(request) and monday + WEEK > today,
        "earlier": max(monday - WEEK, EARLIEST),
        "later": min(monday + WEEK, LATEST - WEEK),
    }
    return TemplateResponse(request, "admin/appointment_week.html", context)


def _days(doctor: Doctor, monday: date, visits: list[Appointment], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of each day in the order of time: a time, its appointment, and the patient's name.

    The appointment of a free slot is None, and so is the name of a patient whom the user may not see.
    """
    today = hours.today_of(doctor)
    last = monday + timedelta(days=6)
    free = (
        _upcoming(queries.free_slots(doctor.doctor_id, doctor, since=max(monday, today), until=last))
        if last >= today
        else []
    )
    days = []
    for number in range(7):
        day = monday + timedelta(days=number)
        rows: list[tuple[str, Appointment | None, str | None]] = [
            (visit.time, visit, names.get(visit.patient_id)) for visit in visits if visit.date == day
        ]
        rows += [(slot.time, None, None) for slot in free if slot.date == day]
        windows = hours.windows_on(doctor, day)
        days.append(
            {
                "date": day,
                "is_today": day == today,
                "is_closed": not windows and any(row.date == day and row.closed for row in doctor.exceptions),
                "hours": [f"{_time(window.start)}–{_time(window.end)}" for window in windows],
                "rows": sorted(rows, key=lambda row: row[0]),
            }
        )
    return days


def _upcoming(slots: list[hours.Slot]) -> list[hours.Slot]:
    """Return the slots that have not begun."""
    now = clock.now()
    return [slot for slot in slots if slot.starts_at >= now]


def _patient_names(request: HttpRequest, visits: list[Appointment]) -> dict[str, str]:
    """Return the names of the appointments' patients whom the user may see, by their ids."""
    keys = {visit.patient_id for visit in visits}
    names = dict(
        patient_queries.visible_to(user_of(request)).filter(pk__in=keys).as_queryset().values_list("pk", "name")
    )
    audit_context.record_access("patient.listed", names)
    return names


def _doctor(request: HttpRequest, doctor_id: str) -> Doctor:
    try:
        return required(doctor_queries.visible_to(user_of(request)).filter(pk=doctor_id).as_queryset().first())
    except DomainError as error:
        audit_context.mark_refused(error.code)
        raise Http404(_("There is no such doctor.")) from error


def _day(text: str | None) -> date | None:
    """Return the day of a parameter, or None if it is missing or is no date."""
    try:
        return min(max(date.fromisoformat(text or ""), EARLIEST), LATEST - WEEK)
    except ValueError:
        return None


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
