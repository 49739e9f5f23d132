"""Patients in the staff's admin."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldBooleanWidget

from healthcare import audit_context
from healthcare.staff_admin import autocomplete
from healthcare.staff_admin.autocomplete import MAX_RESULTS, AccountAutocompleteField, AutocompleteMixin
from healthcare.staff_admin.forms import LinesField, ResourceForm
from healthcare.staff_admin.import_export import ImportExportAdmin
from patients import queries, services
from patients.models import Patient
from patients.serializers import PatientChanges, PatientIn
from patients.tables import PatientTable


@dataclass(frozen=True)
class Link:
    """A button on a patient's page that leads to another room's form for a new record, with the patient filled in."""

    label: Any
    url_name: str
    is_for: Callable[[HttpRequest], bool]


#: What happens on one day happens in this order: a visit leads to the others, whose clocks are not the doctor's.
KINDS = ("visit", "prescription", "bill")


@dataclass(frozen=True)
class Happening:
    """One line of a chart's timeline; `kind` is one of KINDS, `time` on the wall where the doctor works."""

    day: date
    kind: str
    label: Any
    text: str
    time: str = ""
    path: str | None = None


#: What the rooms behind this one put on a patient's page: patients import none of them.
LINKS: list[Link] = []
#: Each gives what it has of a patient, as far as the reader may see it.
TIMELINE: list[Callable[[HttpRequest, Patient], Iterable[Happening]]] = []


class PatientForm(ResourceForm):
    new, changes = PatientIn, PatientChanges
    user_id = AccountAutocompleteField(
        label=_("Account"),
        page="admin:accounts_user_find",
        required=False,
        help_text=_("The number of the account, or the beginning of its e-mail to find it by."),
    )
    diseases = LinesField(label=_("Diseases"), required=False, help_text=_("One a line."))
    is_another = forms.BooleanField(
        label=_("This is somebody else: make the record all the same"),
        required=False,
        widget=UnfoldBooleanWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "patient_id" in self.fields:
            self.fields["patient_id"].required = False
            self.fields["patient_id"].help_text = _("Made by the system when left empty.")
        if not self.instance._state.adding:
            del self.fields["is_another"]
        elif not self.data.get("is_another"):
            # Shown only when somebody is there who looks the same.
            self.fields["is_another"].widget = forms.HiddenInput()

    def clean(self) -> dict[str, Any]:
        """Warn once of patients with the same name and birth date."""
        values = super().clean()
        if "is_another" not in self.fields or self.errors or values.get("is_another"):
            return values
        found = queries.possible_duplicates(self.actor, name=values["name"], birth_date=values.get("birth_date"))
        if not found:
            return values
        self.fields["is_another"].widget = UnfoldBooleanWidget()
        audit_context.record_access("patient.listed", [patient.pk for patient in found])
        pages = [(reverse("admin:patients_patient_change", args=[patient.pk]), patient.pk) for patient in found]
        there = format_html_join(", ", '<a class="underline" href="{}">{}</a>', pages)
        self.add_error("is_another", format_html(gettext("Is it {}? Name and birth date are the same."), there))
        return values


@admin.register(Patient)
class PatientAdmin(AutocompleteMixin, ImportExportAdmin):
    resource = "patient"
    table = PatientTable
    finds_patients = True
    action_names = {"find": "listed"}
    for_doctors = frozenset({"view"})
    form = PatientForm
    list_display = ("patient_id", "name", "birth_date", "sex")
    list_display_links = ("patient_id", "name")
    search_fields = ("name", "patient_id")
    search_help_text = _("Whole words of the name, or the patient's id.")
    ordering = ("name", "patient_id")
    fixed_fields = ("patient_id",)
    computed_fields = ("chart", "made")
    change_form_before_template = "admin/patient_links.html"

    class Media:
        js = ("healthcare/find.js",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A link may say whose record it will be; what else stands in it is not taken."""
        given = super().get_changeform_initial_data(request)
        return {name: given[name] for name in ("user_id",) if name in given}

    def visible_to(self, user: Any) -> QuerySet[Patient]:
        return queries.visible_to(user).as_queryset()

    def create(self, actor: Any, **values: Any) -> Patient:
        return services.create_patient(actor=actor, **values)

    def change(self, actor: Any, key: Any, **values: Any) -> Patient:
        return services.update_patient(actor=actor, patient_id=key, **values)

    def remove(self, actor: Any, key: Any) -> None:
        services.delete_patient(actor=actor, patient_id=key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Patient], search_term: str
    ) -> tuple[QuerySet[Patient], bool]:
        words = search_term.strip()
        return (queryset.filter(Q(name__search=words) | Q(patient_id=words)) if words else queryset), False

    def find(self, user: Any, words: str) -> Iterable[tuple[str, str]]:
        for patient in autocomplete.search_by_name(queries.visible_to(user).as_queryset(), words, at_most=MAX_RESULTS):
            yield patient.pk, f"{patient.name}, {patient.birth_date or _('no birth date')}"

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        patient = kwargs.get("obj")
        if patient is not None:
            context["links"] = [link for link in LINKS if link.is_for(request)]
            context["patient_id"] = patient.pk
        return super().render_change_form(request, context, *args, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = [name for name in super().get_fields(request, obj) if name != "is_another"]
        return names if obj else [*names, "is_another"]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.reader = request
        return found

    @admin.display(description=_("chart"))
    def chart(self, patient: Patient) -> SafeString:
        """What happened, the latest first, from all rooms, which are asked once: the theme asks for it five times."""
        shown: SafeString | None = getattr(patient, "shown_chart", None)
        if shown is not None:
            return shown
        request: HttpRequest = patient.reader  # type: ignore[attr-defined]
        happenings = [each for part in TIMELINE for each in part(request, patient)]
        happenings.sort(key=lambda each: (each.day, KINDS.index(each.kind), each.time), reverse=True)
        shown = render_to_string("admin/patient_timeline.html", {"happenings": happenings})
        patient.shown_chart = shown  # type: ignore[attr-defined]
        return shown
