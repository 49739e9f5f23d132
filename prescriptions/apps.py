from django.apps import AppConfig


class PrescriptionsConfig(AppConfig):
    name = "prescriptions"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"

    def ready(self) -> None:
        from healthcare import protected_references
        from prescriptions import queries

        protected_references.register("patient", "prescriptions", queries.count_of_patient)
        protected_references.register("doctor", "prescriptions", queries.count_of_doctor)
        protected_references.register("appointment", "prescriptions", queries.count_of_appointment)
