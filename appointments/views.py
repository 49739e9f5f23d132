"""/appointments."""

from rest_framework.response import Response

from accounts.authentication import AccountRequest
from appointments import permissions, queries, services
from appointments.serializers import AppointmentChanges, AppointmentIn, AppointmentOut, AppointmentQuery
from healthcare.views import RoomViewSet


class AppointmentViewSet(RoomViewSet):
    """Visits, past and to come."""

    lookup_url_kwarg = "appointment_id"
    lookup_value_converter = "str"
    allowed = permissions.ALLOWED
    bodies = {"create": AppointmentIn, "partial_update": AppointmentChanges}
    answer = AppointmentOut
    parameters = {"list": AppointmentQuery}

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
