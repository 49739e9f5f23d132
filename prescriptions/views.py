"""Views of /prescriptions."""

from rest_framework.response import Response

from accounts.authentication import AccountRequest
from healthcare.api.views import ResourceViewSet
from prescriptions import permissions, queries, services
from prescriptions.serializers import PrescriptionChanges, PrescriptionIn, PrescriptionOut, PrescriptionQuery


class PrescriptionViewSet(ResourceViewSet):
    """Prescriptions."""

    resource = "prescription"
    action_names = {"create": "issued"}
    lookup_url_kwarg = "prescription_id"
    allowed = permissions.ALLOWED
    request_serializers = {"create": PrescriptionIn, "partial_update": PrescriptionChanges}
    response_serializer = PrescriptionOut
    query_serializers = {"list": PrescriptionQuery}

    def list(self, request: AccountRequest) -> Response:
        return self.page(queries.matching(request.user, **PrescriptionQuery.parse_query(request)))

    def create(self, request: AccountRequest) -> Response:
        prescription = services.issue_prescription(actor=request.user, **PrescriptionIn.parse(request))
        return Response(PrescriptionOut.of(prescription), status=201)

    def retrieve(self, request: AccountRequest, prescription_id: str) -> Response:
        return Response(PrescriptionOut.of(queries.get_visible(request.user, prescription_id)))

    def partial_update(self, request: AccountRequest, prescription_id: str) -> Response:
        queries.get_changeable(request.user, prescription_id)
        changes = PrescriptionChanges.parse(request)
        return Response(
            PrescriptionOut.of(
                services.amend_prescription(actor=request.user, prescription_id=prescription_id, **changes)
            )
        )

    def destroy(self, request: AccountRequest, prescription_id: str) -> Response:
        services.delete_prescription(actor=request.user, prescription_id=prescription_id)
        return Response(status=204)
