from rest_framework.routers import SimpleRouter

from appointments.views import AppointmentViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("appointments", AppointmentViewSet, basename="appointments")
urlpatterns = router.urls
