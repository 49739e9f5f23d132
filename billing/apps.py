from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        from billing import queries
        from healthcare import references

        references.register("patient", "bills", queries.count_of_patient)
        references.register("appointment", "bills", queries.count_of_appointment)
