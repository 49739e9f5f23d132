from rest_framework.routers import SimpleRouter

from doctors.views import DoctorViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("doctors", DoctorViewSet, basename="doctors")
urlpatterns = router.urls
