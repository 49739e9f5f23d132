"""The one admin site, in a module of its own: Django makes it while it reads the modules that register with it."""

from django.contrib import admin
from django.utils.translation import gettext_lazy as _


class HospitalAdminSite(admin.AdminSite):
    """The staff's entrance: accounts with the role staff, doctor or admin."""

    site_header = _("Smart Healthcare")
    site_title = _("Smart Healthcare")
    index_title = _("Records")
    site_url = "/api"
    empty_value_display = "–"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        # It logs deletions before it tries them, and knows nothing of services; records are deleted one by one.
        self.disable_action("delete_selected")
