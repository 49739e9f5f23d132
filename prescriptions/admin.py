"""Admin pages of prescriptions."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from bson import ObjectId
from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSingleDateWidget

from accounts.models import User
from accounts.sessions import user_of
from appointments.admin import APPOINTMENT_LINKS
from appointments.models import Appointment, Status
from doctors import queries as doctor_queries
from healthcare.staff_admin.autocomplete import AutocompleteField
from healthcare.staff_admin.forms import ResourceForm
from healthcare.staff_admin.import_export import ImportExportAdmin
from patients.admin import PATIENT_LINKS, TIMELINE_SOURCES, PatientLink, TimelineEntry
from patients.models import Patient
from prescriptions import queries, services
from prescriptions.models import Prescription
from prescriptions.serializers import PrescriptionChanges, PrescriptionIn
from prescriptions.tables import PrescriptionTable


class PrescriptionForm(ResourceForm):
    new, changes = PrescriptionIn, PrescriptionChanges
    patient_id = AutocompleteField(label=_("Patient"), url_name="admin:patients_patient_autocomplete")
    doctor_id = AutocompleteField(label=_("Doctor"), url_name="admin:doctors_doctor_autocomplete")
    start_date = forms.DateField(
        label=_("Start date"),
        required=False,
        widget=UnfoldAdminSingleDateWidget,
        help_text=_("Leave empty for today."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, example in (("dosage", "500 mg, 1 tablet"), ("frequency", "Twice daily, BID, Every 8 hours")):
            if name in self.fields:
                self.fields[name].help_text = _("For example: %(example)s.") % {"example": example}


@admin.register(Prescription)
class PrescriptionAdmin(ImportExportAdmin):
    resource = "prescription"
    table = PrescriptionTable
    doctor_permissions = frozenset({"view", "add", "change", "delete"})
    action_names = {"add": "issued"}
    form = PrescriptionForm
    list_display = ("id", "start_date", "patient_id", "doctor_id", "drug", "dosage", "frequency")
    search_fields = ("id", "patient_id", "doctor_id", "appointment_id")
    search_help_text = _("The id of the prescription, the patient, the doctor or the appointment.")
    ordering = ("-start_date", "-id")
    fixed_fields = ("patient_id", "doctor_id")
    computed_fields = ("created",)

    class Media:
        js = ("healthcare/autocomplete.js",)

    def visible_to(self, user: User) -> QuerySet[Prescription]:
        return queries.visible_to(user).as_queryset()

    def is_of_doctor(self, user: User, obj: Prescription) -> bool:
        return obj.doctor_id == doctor_queries.own_doctor_id(user)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Take the patient and the appointment from a link, and ignore all else. Doctors prescribe as themselves."""
        given = super().get_changeform_initial_data(request)
        initial = {name: given[name] for name in ("patient_id", "appointment_id") if name in given}
        own_id = doctor_queries.own_doctor_id(user_of(request))
        return {**initial, "doctor_id": own_id} if own_id else initial

    def create(self, actor: User, **values: Any) -> Prescription:
        return services.issue_prescription(actor=actor, **values)

    def change(self, actor: User, key: str, **values: Any) -> Prescription:
        return services.amend_prescription(actor=actor, prescription_id=str(key), **values)

    def remove(self, actor: User, key: str) -> None:
        services.delete_prescription(actor=actor, prescription_id=str(key))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Prescription], search_term: str
    ) -> tuple[QuerySet[Prescription], bool]:
        key = search_term.strip()
        wanted = Q(patient_id=key) | Q(doctor_id=key) | Q(appointment_id=key)
        if ObjectId.is_valid(key):
            wanted |= Q(pk=ObjectId(key))
        return (queryset.filter(wanted) if key else queryset), False


def _may_prescribe(request: HttpRequest) -> bool:
    return admin.site.get_model_admin(Prescription).has_add_permission(request)


def _timeline_entries(request: HttpRequest, patient: Patient) -> Iterator[TimelineEntry]:
    """Yield the prescriptions of the chart. Doctors get links to their own only."""
    pages = admin.site.get_model_admin(Prescription)
    if not pages.has_view_permission(request):
        return
    own = doctor_queries.own_doctor_id(user_of(request))
    is_doctor = getattr(request.user, "role", "") == "doctor"
    for course in patient.prescriptions:
        may_open = not is_doctor or course.doctor_id == own
        days = _("%(days)d days") % {"days": course.duration_days} if course.duration_days else _("open-ended")
        parts = (course.drug, course.dosage, course.frequency, days, course.doctor_id, course.disease)
        page = reverse("admin:prescriptions_prescription_change", args=[course.prescription_id])
        yield TimelineEntry(
            day=course.start_date,
            kind="prescription",
            label=_("Prescription"),
            text=", ".join(str(part) for part in parts if part),
            path=page if may_open else None,
        )


def _appointment_link(request: HttpRequest, visit: Appointment) -> tuple[Any, str] | None:
    """Return a link to the form for a prescription of the appointment, unless it was cancelled."""
    if visit.status == Status.CANCELLED or not _may_prescribe(request):
        return None
    query = urlencode({"patient_id": visit.patient_id, "appointment_id": visit.pk})
    return _("Write a prescription"), f"{reverse('admin:prescriptions_prescription_add')}?{query}"


TIMELINE_SOURCES.append(_timeline_entries)
APPOINTMENT_LINKS.append(_appointment_link)
PATIENT_LINKS.append(PatientLink(_("Write a prescription"), "admin:prescriptions_prescription_add", _may_prescribe))
