from django.apps import AppConfig


class AppointmentsConfig(AppConfig):
    name = "appointments"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"

    def ready(self) -> None:
        from appointments import queries
        from healthcare import protected_references

        protected_references.register("patient", "appointments", queries.count_of_patient)
        protected_references.register("doctor", "appointments", queries.count_of_doctor)
