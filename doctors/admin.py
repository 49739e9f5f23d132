"""Doctors in the staff's admin: weekly hours and exceptions are tables."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.dates import WEEKDAYS, WEEKDAYS_ABBR
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from doctors import queries, services
from doctors.models import DEFAULT_SLOT_MINUTES, Doctor
from doctors.serializers import DoctorChanges, DoctorIn
from doctors.tables import DoctorTable
from healthcare.staff_admin import autocomplete
from healthcare.staff_admin.autocomplete import MAX_RESULTS, AccountAutocompleteField, AutocompleteMixin
from healthcare.staff_admin.forms import ResourceForm
from healthcare.staff_admin.import_export import ImportExportAdmin
from healthcare.staff_admin.row_table_field import Column, RowTableField

#: What the rooms behind this one put on a doctor's page and row: a label and a path, or None for who may not go there.
LINKS: list[Callable[[HttpRequest, Doctor], tuple[Any, str] | None]] = []

_CLOCK = {"step": 300}


class HoursField(RowTableField):
    """Weekly hours, a row for each stretch of a weekday."""

    def __init__(self, **kwargs: Any) -> None:
        columns = [
            Column("weekday", _("weekday"), "select", [(str(number), day) for number, day in WEEKDAYS.items()], "0"),
            Column("start", _("from"), "time", attrs=_CLOCK),
            Column("end", _("to"), "time", attrs=_CLOCK),
            Column(
                "slot_minutes",
                _("minutes of a visit"),
                "number",
                default=str(DEFAULT_SLOT_MINUTES),
                attrs={"min": 5, "max": 720, "step": 5},
            ),
        ]
        super().__init__(columns=columns, needed=("start", "end"), **kwargs)

    def read(self, row: dict[str, str]) -> dict[str, Any]:
        return {
            "weekday": _number(row["weekday"]),
            "start": row["start"],
            "end": row["end"],
            "slot_minutes": _number(row["slot_minutes"] or str(DEFAULT_SLOT_MINUTES)),
        }


class ExceptionsField(RowTableField):
    """Days that differ."""

    def __init__(self, **kwargs: Any) -> None:
        columns = [
            Column("date", _("day"), "date"),
            Column("start", _("from"), "time", attrs=_CLOCK),
            Column("end", _("to"), "time", attrs=_CLOCK),
            Column("closed", _("what"), "select", [("True", _("closed")), ("False", _("extra clinic"))], "True"),
        ]
        super().__init__(columns=columns, needed=("date", "start", "end"), **kwargs)

    def read(self, row: dict[str, str]) -> dict[str, Any]:
        return {
            "date": row["date"],
            "start": row["start"] or None,
            "end": row["end"] or None,
            "closed": row["closed"] != "False",
        }


def _number(text: str) -> Any:
    """The number, or the text as it is, for the serializer to refuse."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else text


class DoctorForm(ResourceForm):
    new, changes = DoctorIn, DoctorChanges
    user_id = AccountAutocompleteField(
        label=_("Account"),
        page="admin:accounts_user_find",
        required=False,
        help_text=_("The number of the account, or the beginning of its e-mail to find it by."),
    )
    availability = HoursField(
        label=_("Weekly hours"),
        help_text=_("On the clock where the doctor works. A row without times is left out when you save."),
    )
    exceptions = ExceptionsField(
        label=_("Exceptions"),
        help_text=_("Closed without times is the whole day. A row without a day is left out when you save."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "doctor_id" in self.fields:
            self.fields["doctor_id"].required = False
            self.fields["doctor_id"].help_text = _("Made by the system when left empty.")


@admin.register(Doctor)
class DoctorAdmin(AutocompleteMixin, ImportExportAdmin):
    resource = "doctor"
    table = DoctorTable
    action_names = {"find": "listed"}
    names_people = False  # no patients
    for_doctors = frozenset({"view", "change"})
    form = DoctorForm
    list_display = ("doctor_id", "name", "specialty", "accepting_patients", "time_zone")
    list_display_links = ("doctor_id", "name")
    # Few enough to be sorted by anything.
    sortable_by = list_display
    list_filter = ("accepting_patients",)
    search_fields = ("name", "doctor_id")
    search_help_text = _("Whole words of the name, or the doctor's id.")
    ordering = ("name", "doctor_id")
    fixed_fields = ("doctor_id",)
    computed_fields = ("made",)
    #: What who may only look sees in the place of the tables.
    read_only = {"availability": "hours_shown", "exceptions": "exceptions_shown"}
    change_form_before_template = "admin/links.html"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = super().get_fields(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return names
        return [self.read_only.get(name, name) for name in names]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        names = super().get_readonly_fields(request, obj)
        if obj is not None and not self.has_change_permission(request, obj):
            return (*names, *self.read_only.values())
        return names

    @admin.display(description=_("weekly hours"))
    def hours_shown(self, doctor: Doctor) -> SafeString:
        rows = (
            (WEEKDAYS_ABBR[row.weekday], f"{row.start}–{row.end}", f"{row.slot_minutes} min")
            for row in doctor.availability
        )
        return _table(rows) or _("any time")  # type: ignore[return-value]

    @admin.display(description=_("exceptions"))
    def exceptions_shown(self, doctor: Doctor) -> SafeString:
        rows = (
            (
                f"{row.date:%Y-%m-%d}",
                f"{row.start}–{row.end}" if row.start else "",
                _("closed") if row.closed else _("extra clinic"),
            )
            for row in doctor.exceptions
        )
        return _table(rows) or _("none")  # type: ignore[return-value]

    def get_list_display(self, request: HttpRequest) -> Any:
        @admin.display(description=_("diary"))
        def diary(doctor: Doctor) -> SafeString:
            return format_html_join(" ", '<a class="underline" href="{1}">{0}</a>', _links(request, doctor))

        return (*super().get_list_display(request), diary) if LINKS else super().get_list_display(request)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        doctor = kwargs.get("obj")
        if doctor is not None:
            context["links"] = _links(request, doctor)
        return super().render_change_form(request, context, *args, **kwargs)

    class Media:
        js = ("healthcare/find.js",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A link may say whose record it will be; what else stands in it is not taken."""
        given = super().get_changeform_initial_data(request)
        return {name: given[name] for name in ("user_id",) if name in given}

    def visible_to(self, user: Any) -> QuerySet[Doctor]:
        return queries.visible_to(user).as_queryset()

    def is_of_doctor(self, user: Any, obj: Doctor) -> bool:
        return obj.user_id == user.pk

    def find(self, user: Any, words: str) -> Iterable[tuple[str, str]]:
        """Without words the first of the alphabet: there are few enough doctors to look through."""
        visible = queries.visible_to(user).as_queryset()
        first = visible.order_by("name", "doctor_id")[:MAX_RESULTS]
        for doctor in autocomplete.search_by_name(visible, words, at_most=MAX_RESULTS) if words else first:
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


def _links(request: HttpRequest, doctor: Doctor) -> list[tuple[Any, str]]:
    return [link for each in LINKS if (link := each(request, doctor))]


def _table(rows: Iterable[tuple[Any, ...]]) -> SafeString:
    lines = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td></tr>", rows)
    return format_html('<table class="hours"><tbody>{}</tbody></table>', lines) if lines else lines
