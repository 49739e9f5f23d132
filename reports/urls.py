from django.urls import path
from rest_framework.urlpatterns import format_suffix_patterns

from reports.queries import NAMES
from reports.renderers import SUFFIXES
from reports.views import ReportViewSet

urlpatterns = format_suffix_patterns(
    [
        path(f"reports/{name}", ReportViewSet.as_view({"get": name.replace("-", "_")}), name=f"reports-{name}")
        for name in NAMES
    ],
    allowed=list(SUFFIXES),
)
