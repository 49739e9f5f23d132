from django.apps import AppConfig


class PatientsConfig(AppConfig):
    name = "patients"
    database = "clinical"
    default_auto_field = "django_mongodb_backend.fields.ObjectIdAutoField"

    def ready(self) -> None:
        from accounts import records
        from patients import queries, services

        records.register_record_id("patient_id", queries.own_patient_id)
        records.register_sign_up(services.register_patient)
