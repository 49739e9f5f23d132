from rest_framework.routers import SimpleRouter

from billing.views import BillViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("billing", BillViewSet, basename="billing")
urlpatterns = router.urls
