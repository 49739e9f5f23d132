from django.apps import AppConfig


class PrescriptionsConfig(AppConfig):
    name = "prescriptions"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"
