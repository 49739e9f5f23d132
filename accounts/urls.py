from django.urls import path
from rest_framework.routers import SimpleRouter

from accounts import oauth
from accounts.views import AccountViewSet, AuthViewSet, ProviderViewSet

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
# allauth finds the way back by these names.
for adapter in (oauth.Google, oauth.GitHub):
    name = adapter.provider_id
    begin = ProviderViewSet.as_view({"get": "begin"}, adapter=adapter)
    callback = ProviderViewSet.as_view({"get": "callback"}, adapter=adapter)
    urlpatterns += [
        path(f"auth/oauth/{name}", begin, name=f"{name}_login"),
        path(f"auth/oauth/{name}/callback", callback, name=f"{name}_callback"),
    ]
