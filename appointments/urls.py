from django.urls import path
from rest_framework.routers import SimpleRouter

from appointments.views import AppointmentViewSet, SlotViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("appointments", AppointmentViewSet, basename="appointments")
urlpatterns = [
    path("doctors/<str:doctor_id>/slots", SlotViewSet.as_view({"get": "slots"}), name="doctor-slots"),
    *router.urls,
]
