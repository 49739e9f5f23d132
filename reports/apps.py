from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "reports"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"

    def ready(self) -> None:
        from healthcare.outbox import events
        from reports import projections

        events.register_projection("reports", set(projections.EVENT_KINDS), projections.apply_event)
