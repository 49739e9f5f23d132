from rest_framework.routers import SimpleRouter

from prescriptions.views import PrescriptionViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("prescriptions", PrescriptionViewSet, basename="prescriptions")
urlpatterns = router.urls
