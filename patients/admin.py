"""Admin pages of patients, with a timeline of the chart."""

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

from accounts.models import User
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
class PatientLink:
    """A button on a patient's page that opens another app's form for a new record of this patient."""

    label: Any
    url_name: str
    is_allowed: Callable[[HttpRequest], bool]


#: The order of entries of one day. Appointments come first, because the others result from them; times of day cannot
#: be compared, because appointments have the doctor's time zone and bills the browser's.
ENTRY_KINDS = ("visit", "prescription", "bill")


@dataclass(frozen=True)
class TimelineEntry:
    """One entry of a chart's timeline. `kind` is one of ENTRY_KINDS, `time` is in the doctor's time zone."""

    day: date
    kind: str
    label: Any
    text: str
    time: str = ""
    path: str | None = None


#: Links that other apps add to a patient's page. This app imports none of them.
PATIENT_LINKS: list[PatientLink] = []
#: Functions of other apps that return a patient's entries which the user may see.
TIMELINE_SOURCES: list[Callable[[HttpRequest, Patient], Iterable[TimelineEntry]]] = []


class PatientForm(ResourceForm):
    new, changes = PatientIn, PatientChanges
    user_id = AccountAutocompleteField(
        label=_("Account"),
        url_name="admin:accounts_user_autocomplete",
        required=False,
        help_text=_("Type the number of the account, or the beginning of its e-mail address to search for it."),
    )
    diseases = LinesField(label=_("Diseases"), required=False, help_text=_("Enter one disease on each line."))
    is_another = forms.BooleanField(
        label=_("This is a different person: create the record"),
        required=False,
        widget=UnfoldBooleanWidget(),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "patient_id" in self.fields:
            self.fields["patient_id"].required = False
            self.fields["patient_id"].help_text = _("Leave empty to have the system create an id.")
        if not self.instance._state.adding:
            del self.fields["is_another"]
        elif not self.data.get("is_another"):
            # The form shows the checkbox only after a warning.
            self.fields["is_another"].widget = forms.HiddenInput()

    def clean(self) -> dict[str, Any]:
        """Warn once if there are patients with the same name and birth date."""
        values = super().clean()
        if "is_another" not in self.fields or self.errors or values.get("is_another"):
            return values
        duplicates = queries.possible_duplicates(self.actor, name=values["name"], birth_date=values.get("birth_date"))
        if not duplicates:
            return values
        self.fields["is_another"].widget = UnfoldBooleanWidget()
        audit_context.record_access("patient.listed", [patient.pk for patient in duplicates])
        pages = [(reverse("admin:patients_patient_change", args=[patient.pk]), patient.pk) for patient in duplicates]
        links = format_html_join(", ", '<a class="underline" href="{}">{}</a>', pages)
        self.add_error("is_another", format_html(gettext("Is it {}? Name and birth date are the same."), links))
        return values


@admin.register(Patient)
class PatientAdmin(AutocompleteMixin, ImportExportAdmin):
    resource = "patient"
    table = PatientTable
    suggests_patients = True
    action_names = {"autocomplete": "listed"}
    doctor_permissions = frozenset({"view"})
    form = PatientForm
    list_display = ("patient_id", "name", "birth_date", "sex")
    list_display_links = ("patient_id", "name")
    search_fields = ("name", "patient_id")
    search_help_text = _("Whole words of the name, or the patient's id.")
    ordering = ("name", "patient_id")
    fixed_fields = ("patient_id",)
    computed_fields = ("chart", "created")
    change_form_before_template = "admin/patient_links.html"

    class Media:
        js = ("healthcare/autocomplete.js",)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Take the account from a link, and ignore all its other parameters."""
        given = super().get_changeform_initial_data(request)
        return {name: given[name] for name in ("user_id",) if name in given}

    def visible_to(self, user: User) -> QuerySet[Patient]:
        return queries.visible_to(user).as_queryset()

    def create(self, actor: User, **values: Any) -> Patient:
        return services.create_patient(actor=actor, **values)

    def change(self, actor: User, key: str, **values: Any) -> Patient:
        return services.update_patient(actor=actor, patient_id=key, **values)

    def remove(self, actor: User, key: str) -> None:
        services.delete_patient(actor=actor, patient_id=key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Patient], search_term: str
    ) -> tuple[QuerySet[Patient], bool]:
        words = search_term.strip()
        return (queryset.filter(Q(name__search=words) | Q(patient_id=words)) if words else queryset), False

    def autocomplete_results(self, user: User, words: str) -> Iterable[tuple[str, str]]:
        for patient in autocomplete.search_by_name(queries.visible_to(user).as_queryset(), words, at_most=MAX_RESULTS):
            yield patient.pk, f"{patient.name}, {patient.birth_date or _('no birth date')}"

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        patient = kwargs.get("obj")
        if patient is not None:
            context["links"] = [link for link in PATIENT_LINKS if link.is_allowed(request)]
            context["patient_id"] = patient.pk
        return super().render_change_form(request, context, *args, **kwargs)

    def get_fields(self, request: HttpRequest, obj: object = None) -> Any:
        names = [name for name in super().get_fields(request, obj) if name != "is_another"]
        return names if obj else [*names, "is_another"]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None:
            found.viewing_request = request
        return found

    @admin.display(description=_("chart"))
    def chart(self, patient: Patient) -> SafeString:
        """Return the timeline, the latest entry first. It is cached, because the theme calls this five times."""
        timeline: SafeString | None = getattr(patient, "rendered_timeline", None)
        if timeline is not None:
            return timeline
        request: HttpRequest = patient.viewing_request  # type: ignore[attr-defined]
        entries = [entry for source in TIMELINE_SOURCES for entry in source(request, patient)]
        entries.sort(key=lambda entry: (entry.day, ENTRY_KINDS.index(entry.kind), entry.time), reverse=True)
        timeline = render_to_string("admin/patient_timeline.html", {"entries": entries})
        patient.rendered_timeline = timeline  # type: ignore[attr-defined]
        return timeline
