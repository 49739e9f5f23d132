from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from billing import queries, services
        from healthcare import protected_references
        from healthcare.outbox import events

        protected_references.register("patient", "bills", queries.count_of_patient)
        protected_references.register("appointment", "bills", queries.count_of_appointment)
        events.register_consumer("billing", {"appointment.completed"}, services.bill_completed_visit)
