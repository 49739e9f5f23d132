"""Doctors in the staff's admin. Hours and exceptions are lines of text, in the form that the help texts show."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from doctors import queries, services
from doctors.models import DEFAULT_SLOT_MINUTES, Doctor, ScheduleException, WeeklyHours
from doctors.serializers import DoctorChanges, DoctorIn
from healthcare import finding
from healthcare.admin import FOUND_AT_MOST, FinderMixin, LinesField, RoomAdmin, RoomForm

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_HOURS = re.compile(r"([A-Za-z]{3})[a-z]* (\d\d:\d\d)-(\d\d:\d\d)(?: (\d{1,3}))?", re.ASCII)
_EXCEPTION = re.compile(r"(\d{4}-\d\d-\d\d)(?: (\d\d:\d\d)-(\d\d:\d\d))? (closed|open)", re.ASCII)


def parse_hours(line: str) -> dict[str, Any]:
    """ "Mon 09:00-12:30 20" as the fields of WeeklyHours. Raises: ValueError."""
    found = _HOURS.fullmatch(line)
    if not found or found[1].title() not in WEEKDAYS:
        raise ValueError(line)
    return {
        "weekday": WEEKDAYS.index(found[1].title()),
        "start": found[2],
        "end": found[3],
        "slot_minutes": int(found[4] or DEFAULT_SLOT_MINUTES),
    }


def parse_exception(line: str) -> dict[str, Any]:
    """ "2026-12-24 closed" as the fields of ScheduleException. Raises: ValueError."""
    found = _EXCEPTION.fullmatch(line)
    if not found:
        raise ValueError(line)
    return {"date": found[1], "start": found[2], "end": found[3], "closed": found[4] == "closed"}


def hours_line(row: WeeklyHours) -> str:
    return f"{WEEKDAYS[row.weekday]} {row.start}-{row.end} {row.slot_minutes}"


def exception_line(row: ScheduleException) -> str:
    hours = f" {row.start}-{row.end}" if row.start else ""
    return f"{row.date.isoformat()}{hours} {'closed' if row.closed else 'open'}"


class ScheduleField(LinesField):
    """Embedded rows as lines of text, both ways."""

    def __init__(self, *, parse: Callable[[str], dict[str, Any]], line: Callable[[Any], str], **kwargs: Any) -> None:
        self.parse, self.line = parse, line
        super().__init__(required=False, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(self.line, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        rows = []
        for line in super().to_python(value):
            try:
                rows.append(self.parse(line))
            except ValueError as error:
                message = _("Cannot read the line “%(line)s”.")
                raise forms.ValidationError(message, params={"line": line[:60]}) from error
        return rows

    def has_changed(self, initial: Any, data: Any) -> bool:
        return LinesField().to_python(self.prepare_value(initial or [])) != LinesField().to_python(data)


class DoctorForm(RoomForm):
    new, changes = DoctorIn, DoctorChanges
    availability = ScheduleField(
        parse=parse_hours,
        line=hours_line,
        label=_("weekly hours"),
        help_text=_("One a line: Mon 09:00-12:30 20, the last number being the minutes of a visit."),
    )
    exceptions = ScheduleField(
        parse=parse_exception,
        line=exception_line,
        label=_("exceptions"),
        help_text=_("One a line: 2026-12-24 closed, 2026-12-28 14:00-16:00 closed, 2027-01-02 09:00-12:00 open."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "doctor_id" in self.fields:
            self.fields["doctor_id"].required = False
            self.fields["doctor_id"].help_text = _("Made by the system when left empty.")


@admin.register(Doctor)
class DoctorAdmin(FinderMixin, RoomAdmin):
    noun = "doctor"
    verbs = {"find": "listed"}
    names_people = False  # no patients
    for_doctors = frozenset({"view", "change"})
    form = DoctorForm
    list_display = ("doctor_id", "name", "specialty", "accepting_patients", "time_zone")
    list_display_links = ("doctor_id", "name")
    list_filter = ("accepting_patients",)
    search_fields = ("name", "doctor_id")
    search_help_text = _("Whole words of the name, or the doctor's id.")
    ordering = ("name", "doctor_id")
    fixed_fields = ("doctor_id",)
    computed_fields = ("created_at",)

    def visible_to(self, user: Any) -> QuerySet[Doctor]:
        return queries.visible_to(user)

    def is_of_doctor(self, user: Any, obj: Doctor) -> bool:
        return obj.user_id == user.pk

    def find(self, user: Any, words: str) -> Iterable[tuple[str, str]]:
        """Without words the first of the alphabet: there are few enough doctors to look through."""
        visible = queries.visible_to(user)
        first = visible.order_by("name", "doctor_id")[:FOUND_AT_MOST]
        for doctor in finding.by_words(visible, words, at_most=FOUND_AT_MOST) if words else first:
            yield doctor.pk, f"{doctor.name}, {doctor.specialty}"

    def create(self, actor: Any, **values: Any) -> Doctor:
        return services.create_doctor(actor=actor, **values)

    def change(self, actor: Any, key: Any, **values: Any) -> Doctor:
        return services.update_doctor(actor=actor, doctor_id=key, **values)

    def remove(self, actor: Any, key: Any) -> None:
        services.delete_doctor(actor=actor, doctor_id=key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Doctor], search_term: str
    ) -> tuple[QuerySet[Doctor], bool]:
        words = search_term.strip()
        return (queryset.filter(Q(name__search=words) | Q(doctor_id=words)) if words else queryset), False
