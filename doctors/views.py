"""Views of /doctors."""

from rest_framework.response import Response

from accounts.authentication import AccountRequest
from doctors import permissions, queries, services
from doctors.serializers import DoctorChanges, DoctorIn, DoctorOut, DoctorQuery
from healthcare.api.views import ResourceViewSet


class DoctorViewSet(ResourceViewSet):
    """Doctors and their hours."""

    resource = "doctor"
    lookup_url_kwarg = "doctor_id"
    allowed = permissions.ALLOWED
    request_serializers = {"create": DoctorIn, "partial_update": DoctorChanges}
    response_serializer = DoctorOut
    query_serializers = {"list": DoctorQuery}

    def list(self, request: AccountRequest) -> Response:
        return self.page(queries.matching(request.user, **DoctorQuery.parse_query(request)))

    def create(self, request: AccountRequest) -> Response:
        doctor = services.create_doctor(actor=request.user, **DoctorIn.parse(request))
        return Response(DoctorOut.of(doctor), status=201)

    def retrieve(self, request: AccountRequest, doctor_id: str) -> Response:
        return Response(DoctorOut.of(queries.get_visible(request.user, doctor_id)))

    def partial_update(self, request: AccountRequest, doctor_id: str) -> Response:
        queries.get_changeable(request.user, doctor_id)
        doctor = services.update_doctor(actor=request.user, doctor_id=doctor_id, **DoctorChanges.parse(request))
        return Response(DoctorOut.of(doctor))

    def destroy(self, request: AccountRequest, doctor_id: str) -> Response:
        services.delete_doctor(actor=request.user, doctor_id=doctor_id)
        return Response(status=204)
