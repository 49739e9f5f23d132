from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import openapi, sessions  # noqa: F401 - register the authentication schemes and the receivers
