from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class HealthcareConfig(AppConfig):
    default = True
    name = "healthcare"
    verbose_name = "Smart Healthcare"

    def ready(self) -> None:
        import healthcare.api.checks  # register the system checks
        import healthcare.mongodb.checks
        import healthcare.web.checks  # noqa: F401
        from healthcare.audit_log import recorder
        from healthcare.mongodb import lookups, transactions  # noqa: F401 - registers the lookups
        from healthcare.observability import metrics
        from healthcare.outbox import events

        # The audit log comes before the consumers of the apps, because an audit entry must not wait for a bill that
        # fails.
        events.register_consumer(events.AUDIT, None, recorder.deliver)
        transactions.statistics.observer = metrics.count_transactions


class HospitalAdminConfig(admin_apps.AdminConfig):
    """Configuration of Django's admin app, with the project's admin site in place of Django's."""

    default = False
    default_site = "healthcare.staff_admin.site.HospitalAdminSite"
