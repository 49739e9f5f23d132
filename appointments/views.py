"""Views of /appointments, and of /doctors/{id}/slots."""

from rest_framework.response import Response

from accounts.authentication import AccountRequest
from appointments import permissions, queries, services
from appointments.serializers import (
    AppointmentChanges,
    AppointmentIn,
    AppointmentOut,
    AppointmentQuery,
    SlotQuery,
    SlotsOut,
)
from doctors import queries as doctor_queries
from healthcare.api.views import ResourceViewSet


class AppointmentViewSet(ResourceViewSet):
    """Appointments, past and future."""

    resource = "appointment"
    action_names = {"create": "booked"}
    lookup_url_kwarg = "appointment_id"
    allowed = permissions.ALLOWED
    request_serializers = {"create": AppointmentIn, "partial_update": AppointmentChanges}
    response_serializer = AppointmentOut
    query_serializers = {"list": AppointmentQuery}

    def list(self, request: AccountRequest) -> Response:
        return self.page(queries.matching(request.user, **AppointmentQuery.parse_query(request)))

    def create(self, request: AccountRequest) -> Response:
        visit = services.book_appointment(actor=request.user, **AppointmentIn.parse(request))
        return Response(AppointmentOut.of(visit), status=201)

    def retrieve(self, request: AccountRequest, appointment_id: str) -> Response:
        return Response(AppointmentOut.of(queries.get_visible(request.user, appointment_id)))

    def partial_update(self, request: AccountRequest, appointment_id: str) -> Response:
        queries.get_visible(request.user, appointment_id)
        changes = AppointmentChanges.parse(request)
        return Response(
            AppointmentOut.of(services.change_appointment(actor=request.user, appointment_id=appointment_id, **changes))
        )

    def destroy(self, request: AccountRequest, appointment_id: str) -> Response:
        services.delete_appointment(actor=request.user, appointment_id=appointment_id)
        return Response(status=204)


class SlotViewSet(ResourceViewSet):
    """Free slots of a doctor."""

    resource = "doctor"
    action_names = {"slots": "viewed"}
    allowed = permissions.SLOTS
    pagination_class = None
    response_serializers = {"slots": SlotsOut}
    query_serializers = {"slots": SlotQuery}

    def slots(self, request: AccountRequest, doctor_id: str) -> Response:
        """List the free slots of a doctor in a period of at most 31 days."""
        doctor = doctor_queries.get_visible(request.user, doctor_id)
        period = SlotQuery.parse_query(request, also=frozenset())
        return Response(
            SlotsOut.of({"results": queries.free_slots(doctor_id, doctor_queries.schedule_from(doctor), **period)})
        )
