from django.apps import AppConfig


class AppointmentsConfig(AppConfig):
    name = "appointments"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"
