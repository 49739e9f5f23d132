from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"

    def ready(self) -> None:
        from audit import queries
        from healthcare.observability import metrics

        metrics.register_gauges(queries.seal_lag_gauges)
