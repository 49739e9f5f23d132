"""Admin pages of doctors, with tables of their weekly hours and exceptions."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.dates import WEEKDAYS, WEEKDAYS_ABBR
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from doctors import queries, services
from doctors.models import DEFAULT_SLOT_MINUTES, Doctor
from doctors.serializers import DoctorChanges, DoctorIn
from doctors.tables import DoctorTable
from healthcare.staff_admin import autocomplete
from healthcare.staff_admin.autocomplete import MAX_RESULTS, AccountAutocompleteField, AutocompleteMixin
from healthcare.staff_admin.forms import ResourceForm
from healthcare.staff_admin.import_export import ImportExportAdmin
from healthcare.staff_admin.row_table_field import RowForm, RowTableField

#: Functions of other apps that return a link for a doctor's page and row, or None if the user may not follow it.
DOCTOR_LINKS: list[Callable[[HttpRequest, Doctor], tuple[Any, str] | None]] = []


def _time_input() -> forms.TextInput:
    return forms.TextInput(attrs={"type": "time", "step": 300})


class HoursRow(RowForm):
    """Form row of the weekly hours: an interval of a weekday on which the doctor works."""

    needed = ("start", "end")
    weekday = forms.CharField(
        label=_("weekday"), required=False, initial="0", widget=forms.Select(choices=list(WEEKDAYS.items()))
    )
    start = forms.CharField(label=_("from"), required=False, widget=_time_input())
    end = forms.CharField(label=_("to"), required=False, widget=_time_input())
    slot_minutes = forms.CharField(
        label=_("minutes of a visit"),
        required=False,
        initial=DEFAULT_SLOT_MINUTES,
        widget=forms.NumberInput(attrs={"min": 5, "max": 720, "step": 5}),
    )

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        return {
            "weekday": _number(texts["weekday"]),
            "start": texts["start"],
            "end": texts["end"],
            "slot_minutes": _number(texts["slot_minutes"] or str(DEFAULT_SLOT_MINUTES)),
        }


class ExceptionRow(RowForm):
    """Form row of an exception: a day on which the doctor is away, or works other hours than usual."""

    needed = ("date", "start", "end")
    date = forms.CharField(label=_("day"), required=False, widget=forms.TextInput(attrs={"type": "date"}))
    start = forms.CharField(label=_("from"), required=False, widget=_time_input())
    end = forms.CharField(label=_("to"), required=False, widget=_time_input())
    closed = forms.CharField(
        label=_("kind"),
        required=False,
        initial="True",
        widget=forms.Select(choices=[("True", _("closed")), ("False", _("extra clinic"))]),
    )

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        return {
            "date": texts["date"],
            "start": texts["start"] or None,
            "end": texts["end"] or None,
            "closed": texts["closed"] != "False",
        }


def _number(text: str) -> Any:
    """Return the number, or the text itself, which the serializer then rejects."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else text


class DoctorForm(ResourceForm):
    new, changes = DoctorIn, DoctorChanges
    user_id = AccountAutocompleteField(
        label=_("Account"),
        url_name="admin:accounts_user_autocomplete",
        required=False,
        help_text=_("Type the number of the account, or the beginning of its e-mail address to search for it."),
    )
    availability = RowTableField(
        row_form=HoursRow,
        label=_("Weekly hours"),
        help_text=_("Times are in the doctor's time zone. A row without times is not saved."),
    )
    exceptions = RowTableField(
        row_form=ExceptionRow,
        label=_("Exceptions"),
        help_text=_("Closed without times means the whole day. An empty row is not saved."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "doctor_id" in self.fields:
            self.fields["doctor_id"].required = False
            self.fields["doctor_id"].help_text = _("Leave empty to have the system create an id.")


@admin.register(Doctor)
class DoctorAdmin(AutocompleteMixin, ImportExportAdmin):
    resource = "doctor"
    table = DoctorTable
    action_names = {"autocomplete": "listed"}
    names_people = False  # The rows are doctors, not patients.
    doctor_permissions = frozenset({"view", "change"})
    form = DoctorForm
    list_display = ("doctor_id", "name", "specialty", "accepting_patients", "time_zone")
    list_display_links = ("doctor_id", "name")
    # Any column may sort, because there are few doctors.
    sortable_by = list_display
    list_filter = ("accepting_patients",)
    search_fields = ("name", "doctor_id")
    search_help_text = _("Whole words of the name, or the doctor's id.")
    ordering = ("name", "doctor_id")
    fixed_fields = ("doctor_id",)
    computed_fields = ("created",)
    #: Field → what replaces it for users who may not change the doctor.
    read_only = {"availability": "hours_table", "exceptions": "exceptions_table"}
    change_form_before_template = "admin/links.html"

    def get_fields(self, request: HttpRequest, obj: object = None) -> Any:
        names = super().get_fields(request, obj)
        if obj is None or self.has_change_permission(request, obj):
            return names
        return [self.read_only.get(name, name) for name in names]

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> tuple[str, ...]:
        names = super().get_readonly_fields(request, obj)
        if obj is not None and not self.has_change_permission(request, obj):
            return (*names, *self.read_only.values())
        return names

    @admin.display(description=_("weekly hours"))
    def hours_table(self, doctor: Doctor) -> SafeString | Promise:
        rows = (
            (WEEKDAYS_ABBR[row.weekday], f"{row.start}–{row.end}", f"{row.slot_minutes} min")
            for row in doctor.availability
        )
        return _table(rows) or _("any time")

    @admin.display(description=_("exceptions"))
    def exceptions_table(self, doctor: Doctor) -> SafeString | Promise:
        rows = (
            (
                f"{row.date:%Y-%m-%d}",
                f"{row.start}–{row.end}" if row.start else "",
                _("closed") if row.closed else _("extra clinic"),
            )
            for row in doctor.exceptions
        )
        return _table(rows) or _("none")

    def get_list_display(self, request: HttpRequest) -> Any:
        @admin.display(description=_("diary"))
        def diary(doctor: Doctor) -> SafeString:
            return format_html_join(" ", '<a class="underline" href="{1}">{0}</a>', _links(request, doctor))

        return (*super().get_list_display(request), diary) if DOCTOR_LINKS else super().get_list_display(request)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        doctor = kwargs.get("obj")
        if doctor is not None:
            context["links"] = _links(request, doctor)
        return super().render_change_form(request, context, *args, **kwargs)

    class Media:
        js = ("healthcare/autocomplete.js",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Take the account from a link, and ignore all its other parameters."""
        given = super().get_changeform_initial_data(request)
        return {name: given[name] for name in ("user_id",) if name in given}

    def visible_to(self, user: User) -> QuerySet[Doctor]:
        return queries.visible_to(user).as_queryset()

    def is_of_doctor(self, user: User, obj: Doctor) -> bool:
        return obj.user_id == user.pk

    def autocomplete_results(self, user: User, words: str) -> Iterable[tuple[str, str]]:
        """Return the matching doctors. Without words, return the first ones by name, because there are few doctors."""
        visible = queries.visible_to(user).as_queryset()
        first = visible.order_by("name", "doctor_id")[:MAX_RESULTS]
        for doctor in autocomplete.search_by_name(visible, words, at_most=MAX_RESULTS) if words else first:
            yield doctor.pk, f"{doctor.name}, {doctor.specialty}"

    def create(self, actor: User, **values: Any) -> Doctor:
        return services.create_doctor(actor=actor, **values)

    def change(self, actor: User, key: str, **values: Any) -> Doctor:
        return services.update_doctor(actor=actor, doctor_id=key, **values)

    def remove(self, actor: User, key: str) -> None:
        services.delete_doctor(actor=actor, doctor_id=key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Doctor], search_term: str
    ) -> tuple[QuerySet[Doctor], bool]:
        words = search_term.strip()
        return (queryset.filter(Q(name__search=words) | Q(doctor_id=words)) if words else queryset), False


def _links(request: HttpRequest, doctor: Doctor) -> list[tuple[Any, str]]:
    return [link for each in DOCTOR_LINKS if (link := each(request, doctor))]


def _table(rows: Iterable[tuple[Any, ...]]) -> SafeString:
    lines = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td></tr>", rows)
    return format_html('<table class="hours"><tbody>{}</tbody></table>', lines) if lines else lines
