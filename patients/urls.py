from django.urls import path
from rest_framework.routers import SimpleRouter

from patients.views import PatientViewSet, RegistrationViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("patients", PatientViewSet, basename="patients")
urlpatterns = [
    path("auth/register", RegistrationViewSet.as_view({"post": "register"}), name="auth-register"),
    *router.urls,
]
