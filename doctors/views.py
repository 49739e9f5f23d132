"""/doctors."""

from rest_framework.response import Response

from accounts.authentication import AccountRequest
from doctors import permissions, queries, services
from doctors.serializers import DoctorChanges, DoctorIn, DoctorOut, DoctorQuery
from healthcare.views import RoomViewSet


class DoctorViewSet(RoomViewSet):
    """Doctors and their hours."""

    noun = "doctor"
    lookup_url_kwarg = "doctor_id"
    lookup_value_converter = "str"
    allowed = permissions.ALLOWED
    bodies = {"create": DoctorIn, "partial_update": DoctorChanges}
    answer = DoctorOut
    parameters = {"list": DoctorQuery}

    def list(self, request: AccountRequest) -> Response:
        return self.page(queries.matching(request.user, **DoctorQuery.parse_query(request)))

    def create(self, request: AccountRequest) -> Response:
        doctor = services.create_doctor(actor=request.user, **DoctorIn.parse(request))
        return Response(DoctorOut.of(doctor), status=201)

    def retrieve(self, request: AccountRequest, doctor_id: str) -> Response:
        return Response(DoctorOut.of(queries.document_visible(request.user, doctor_id)))

    def partial_update(self, request: AccountRequest, doctor_id: str) -> Response:
        queries.get_changeable(request.user, doctor_id)
        doctor = services.update_doctor(actor=request.user, doctor_id=doctor_id, **DoctorChanges.parse(request))
        return Response(DoctorOut.of(doctor))

    def destroy(self, request: AccountRequest, doctor_id: str) -> Response:
        services.delete_doctor(actor=request.user, doctor_id=doctor_id)
        return Response(status=204)
