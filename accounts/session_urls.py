"""Routes of login and logout in a browser, under the names that DRF's pages use."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from accounts.sessions import SessionLoginView

app_name = "rest_framework"
urlpatterns = [
    path("login/", SessionLoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
