from django.apps import AppConfig


class HealthcareConfig(AppConfig):
    name = "healthcare"
    verbose_name = "Smart Healthcare"
