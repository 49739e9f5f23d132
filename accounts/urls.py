from django.urls import path
from rest_framework.routers import SimpleRouter

from accounts.views import AccountViewSet, AuthViewSet, GitHubViewSet, GoogleViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("accounts", AccountViewSet, basename="accounts")
urlpatterns = [
    path("auth/login", AuthViewSet.as_view({"post": "login"}), name="auth-login"),
    path("auth/refresh", AuthViewSet.as_view({"post": "refresh"}), name="auth-refresh"),
    path("auth/logout", AuthViewSet.as_view({"post": "logout"}), name="auth-logout"),
    path("auth/me", AuthViewSet.as_view({"get": "me"}), name="auth-me"),
    path("auth/password", AuthViewSet.as_view({"post": "password"}), name="auth-password"),
    *router.urls,
]
# allauth builds the redirect address from these URL names: the provider's id with "_login" and "_callback".
for provider, viewset in (("google", GoogleViewSet), ("github", GitHubViewSet)):
    urlpatterns += [
        path(f"auth/oauth/{provider}", viewset.as_view({"get": "begin"}), name=f"{provider}_login"),
        path(f"auth/oauth/{provider}/callback", viewset.as_view({"get": "callback"}), name=f"{provider}_callback"),
    ]
