"""Views of /billing."""

from rest_framework.response import Response

from accounts.authentication import AccountRequest
from billing import permissions, queries, services
from billing.serializers import BillChanges, BillIn, BillOut, BillQuery
from healthcare.api.views import ResourceViewSet


class BillViewSet(ResourceViewSet):
    """Bills. Admins write them; patients read their own."""

    resource = "bill"
    lookup_url_kwarg = "bill_id"
    lookup_value_converter = "int"
    allowed = permissions.ALLOWED
    request_serializers = {"create": BillIn, "partial_update": BillChanges}
    response_serializer = BillOut
    query_serializers = {"list": BillQuery}

    def list(self, request: AccountRequest) -> Response:
        return self.page(queries.matching(request.user, **BillQuery.parse_query(request)))

    def create(self, request: AccountRequest) -> Response:
        bill = services.create_bill(actor=request.user, **BillIn.parse(request))
        return Response(BillOut.of(bill), status=201)

    def retrieve(self, request: AccountRequest, bill_id: int) -> Response:
        return Response(BillOut.of(queries.get_visible(request.user, bill_id)))

    def partial_update(self, request: AccountRequest, bill_id: int) -> Response:
        queries.get_visible(request.user, bill_id)
        bill = services.change_bill(actor=request.user, bill_id=bill_id, **BillChanges.parse(request))
        return Response(BillOut.of(bill))

    def destroy(self, request: AccountRequest, bill_id: int) -> Response:
        services.delete_bill(actor=request.user, bill_id=bill_id)
        return Response(status=204)
