"""Patients in the staff's admin."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from healthcare import finding
from healthcare.admin import FOUND_AT_MOST, FinderMixin, LinesField, RoomAdmin, RoomForm
from patients import queries, services
from patients.models import Patient
from patients.serializers import PatientChanges, PatientIn


@dataclass(frozen=True)
class Link:
    """A button on a patient's page that leads to another room's form for a new record, with the patient filled in."""

    label: Any
    url_name: str
    is_for: Callable[[HttpRequest], bool]


#: The rooms behind this one put theirs here: patients import none of them.
LINKS: list[Link] = []


class PatientForm(RoomForm):
    new, changes = PatientIn, PatientChanges
    diseases = LinesField(label=_("diseases"), required=False, help_text=_("One a line."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "patient_id" in self.fields:
            self.fields["patient_id"].required = False
            self.fields["patient_id"].help_text = _("Made by the system when left empty.")


@admin.register(Patient)
class PatientAdmin(FinderMixin, RoomAdmin):
    noun = "patient"
    finds_patients = True
    verbs = {"find": "listed"}
    for_doctors = frozenset({"view"})
    form = PatientForm
    list_display = ("patient_id", "name", "birth_date", "sex")
    list_display_links = ("patient_id", "name")
    search_fields = ("name", "patient_id")
    search_help_text = _("Whole words of the name, or the patient's id.")
    ordering = ("name", "patient_id")
    fixed_fields = ("patient_id",)
    computed_fields = ("visits", "courses", "created_at")
    change_form_before_template = "admin/patient_links.html"

    def visible_to(self, user: Any) -> QuerySet[Patient]:
        return queries.visible_to(user)

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
        for patient in finding.by_words(queries.visible_to(user), words, at_most=FOUND_AT_MOST):
            yield patient.pk, f"{patient.name}, {patient.birth_date or _('no birth date')}"

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        patient = kwargs.get("obj")
        if patient is not None:
            context["links"] = [link for link in LINKS if link.is_for(request)]
            context["patient_id"] = patient.pk
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("visits"))
    def visits(self, patient: Patient) -> SafeString:
        rows = ((e.date, e.time or "–", e.doctor_id, e.status, e.disease or "–") for e in patient.appointments)
        return _table((_("date"), _("time"), _("doctor"), _("status"), _("disease")), rows)

    @admin.display(description=_("prescriptions"))
    def courses(self, patient: Patient) -> SafeString:
        rows = (
            (e.start_date, e.drug, e.dosage, e.frequency, e.duration_days or _("open-ended"), e.doctor_id)
            for e in patient.prescriptions
        )
        return _table((_("start"), _("drug"), _("dosage"), _("frequency"), _("days"), _("doctor")), rows)


def _table(headings: Iterable[Any], rows: Iterable[tuple[Any, ...]]) -> SafeString:
    body = [(format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows]
    if not body:
        return format_html("{}", "–")
    return format_html(
        "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>",
        format_html_join("", "<th scope=col>{}</th>", ((heading,) for heading in headings)),
        format_html_join("", "<tr>{}</tr>", body),
    )
