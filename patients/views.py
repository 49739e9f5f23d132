"""Views of /patients, and of /auth/register, which creates a patient."""

from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits
from accounts.authentication import AccountRequest
from accounts.serializers import MeOut
from accounts.views import me
from healthcare.api.views import ResourceViewSet
from patients import permissions, queries, services
from patients.serializers import PatientChanges, PatientIn, PatientOut, PatientQuery, RegistrationIn


class PatientViewSet(ResourceViewSet):
    """Patient records with their charts."""

    resource = "patient"
    lookup_url_kwarg = "patient_id"
    allowed = permissions.ALLOWED
    request_serializers = {"create": PatientIn, "partial_update": PatientChanges}
    response_serializer = PatientOut
    query_serializers = {"list": PatientQuery}

    def list(self, request: AccountRequest) -> Response:
        return self.page(queries.matching(request.user, **PatientQuery.parse_query(request)))

    def create(self, request: AccountRequest) -> Response:
        patient = services.create_patient(actor=request.user, **PatientIn.parse(request))
        return Response(PatientOut.of(patient), status=201)

    def retrieve(self, request: AccountRequest, patient_id: str) -> Response:
        return Response(PatientOut.of(queries.get_visible(request.user, patient_id)))

    def partial_update(self, request: AccountRequest, patient_id: str) -> Response:
        queries.get_visible(request.user, patient_id)
        patient = services.update_patient(actor=request.user, patient_id=patient_id, **PatientChanges.parse(request))
        return Response(PatientOut.of(patient))

    def destroy(self, request: AccountRequest, patient_id: str) -> Response:
        services.delete_patient(actor=request.user, patient_id=patient_id)
        return Response(status=204)


class RegistrationViewSet(ResourceViewSet):
    """Registration of patients. Admins create all other accounts."""

    resource = "account"
    action_names = {"register": "created"}
    allowed = permissions.REGISTRATION
    pagination_class = None
    request_serializers = {"register": RegistrationIn}
    response_serializers = {"register": MeOut}
    created_responses = frozenset({"register"})
    extra_statuses = {"register": ("429",)}

    def register(self, request: Request) -> Response:
        """Create a patient account and its patient record."""
        given = RegistrationIn.parse(request)
        limits.registration(request)
        user = services.register_patient(**given)
        return Response(me(user), status=201)
