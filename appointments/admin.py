"""Appointments in the staff's admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from appointments import queries, services
from appointments.models import Appointment
from appointments.serializers import AppointmentChanges, AppointmentIn
from doctors import queries as doctor_queries
from healthcare.admin import RoomAdmin, RoomForm


class AppointmentForm(RoomForm):
    new, changes = AppointmentIn, AppointmentChanges
    duration_minutes = forms.IntegerField(
        label=_("minutes"),
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=_("The doctor's usual length when left empty."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "time" in self.fields:
            self.fields["time"].help_text = _("HH:MM where the doctor works; empty for an untimed visit.")
        if "appointment_id" in self.fields:
            self.fields["appointment_id"].required = False
            self.fields["appointment_id"].help_text = _("Made by the system when left empty.")


@admin.register(Appointment)
class AppointmentAdmin(RoomAdmin):
    noun = "appointment"
    for_doctors = frozenset({"view", "add", "change"})
    verbs = {"add": "booked"}
    form = AppointmentForm
    list_display = ("appointment_id", "date", "time", "doctor_id", "patient_id", "status", "disease")
    list_filter = ("status",)
    search_fields = ("appointment_id", "patient_id", "doctor_id")
    search_help_text = _("The id of the appointment, the patient or the doctor.")
    ordering = ("-date", "-time", "-appointment_id")
    fixed_fields = ("appointment_id", "patient_id", "doctor_id")
    computed_fields = ("starts_at", "created_at")

    def visible_to(self, user: Any) -> QuerySet[Appointment]:
        return queries.visible_to(user)

    def is_of_doctor(self, user: Any, obj: Appointment) -> bool:
        return obj.doctor_id == doctor_queries.own_doctor_id(user)

    def create(self, actor: Any, **values: Any) -> Appointment:
        return services.book_appointment(actor=actor, **values)

    def change(self, actor: Any, key: Any, **values: Any) -> Appointment:
        return services.change_appointment(actor=actor, appointment_id=key, **values)

    def remove(self, actor: Any, key: Any) -> None:
        services.delete_appointment(actor=actor, appointment_id=key)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Appointment], search_term: str
    ) -> tuple[QuerySet[Appointment], bool]:
        key = search_term.strip()
        wanted = Q(appointment_id=key) | Q(patient_id=key) | Q(doctor_id=key)
        return (queryset.filter(wanted) if key else queryset), False
