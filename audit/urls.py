from django.urls import path

from audit.views import AccessLogViewSet, AuditLogViewSet

urlpatterns = [
    path("audit", AuditLogViewSet.as_view({"get": "list"}), name="audit-list"),
    path(
        "patients/<str:patient_id>/access-log",
        AccessLogViewSet.as_view({"get": "access_log"}),
        name="patients-access-log",
    ),
]
