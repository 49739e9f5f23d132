from django.apps import AppConfig


class DoctorsConfig(AppConfig):
    name = "doctors"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"

    def ready(self) -> None:
        from accounts import records
        from doctors import queries

        records.register_record_id("doctor_id", queries.own_doctor_id)
