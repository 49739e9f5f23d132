from django.apps import AppConfig


class DoctorsConfig(AppConfig):
    name = "doctors"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"
