from django.apps import AppConfig


class PrescriptionsConfig(AppConfig):
    name = "prescriptions"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"

    def ready(self) -> None:
        from healthcare import references
        from prescriptions import queries

        references.register("patient", "prescriptions", queries.count_of_patient)
        references.register("doctor", "prescriptions", queries.count_of_doctor)
        references.register("appointment", "prescriptions", queries.count_of_appointment)
