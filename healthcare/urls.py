"""URL patterns of the whole system, without trailing slashes (`healthcare.web.middleware` removes them under /api)."""

from csp.decorators import csp_update
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularRedocView, SpectacularSwaggerSplitView

from healthcare.api.views import ApiRoot, unknown_path
from healthcare.observability.views import HealthViewSet, metrics_page

_styled = csp_update({"style-src": ["'unsafe-inline'"], "worker-src": ["blob:"]})

# Django tries the patterns in order, so the most requested apps come first.
api = [
    path("", include("appointments.urls")),
    path("", include("patients.urls")),
    path("", include("doctors.urls")),
    path("", include("prescriptions.urls")),
    path("", include("billing.urls")),
    path("", include("reports.urls")),
    path("", include("accounts.urls")),
    path("", include("audit.urls")),
]

urlpatterns = [
    path("api/", include(api)),
    re_path(r"^api/", unknown_path),
    path("api", ApiRoot.as_view({"get": "list"}), name="api-root"),
    path("", RedirectView.as_view(url="/api"), name="home"),
    path("healthz", HealthViewSet.as_view({"get": "alive"}), name="healthz"),
    path("readyz", HealthViewSet.as_view({"get": "ready"}), name="readyz"),
    path("metrics", metrics_page, name="metrics"),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    # Both pages contain inline styles; their scripts are files of this server.
    path("docs", _styled(SpectacularSwaggerSplitView.as_view(url_name="schema")), name="swagger-ui"),
    path("redoc", _styled(SpectacularRedocView.as_view(url_name="schema")), name="redoc"),
    # Login and logout of the browsable API; the admin has its own.
    path("session/", include("accounts.session_urls")),
    path("admin/", admin.site.urls),
]
