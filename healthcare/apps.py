from django.apps import AppConfig


class HealthcareConfig(AppConfig):
    name = "healthcare"
    verbose_name = "Smart Healthcare"

    def ready(self) -> None:
        from healthcare import checks  # noqa: F401 - registers the system checks
        from healthcare.mongodb import lookups  # noqa: F401 - registers the lookups
