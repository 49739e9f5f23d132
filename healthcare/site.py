"""The one admin site, in a module of its own: Django makes it while it reads the modules that register with it."""

from functools import update_wrapper
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from healthcare import trail

#: The last part of a page's name → what it did, when it is through, by GET and by POST.
PAGE_VERBS = {
    "changelist": ("listed", "listed"),
    "add": ("created", "created"),
    "change": ("viewed", "amended"),
    "delete": ("viewed", "deleted"),
}
OTHER_PAGE_VERBS = ("viewed", "amended")


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

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Put on record who was turned away, whatever the page: it is the one way to all of them."""
        judged = super().admin_view(view, cacheable)

        def attempted(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            trail.attempts(self._deed(request), subject=kwargs.get("object_id"))
            if not self.has_permission(request):
                trail.refused("permission_denied" if request.user.is_authenticated else "not_authenticated")
            try:
                return judged(request, *args, **kwargs)
            except PermissionDenied:
                trail.refused("permission_denied")
                raise

        return update_wrapper(attempted, judged)

    def _deed(self, request: HttpRequest) -> str:
        """What the page is called in the audit trail: "patients_patient_changelist" is "patient.listed"."""
        name = (request.resolver_match.url_name if request.resolver_match else None) or ""
        place, _, page = name.rpartition("_")
        verbs = PAGE_VERBS.get(page, OTHER_PAGE_VERBS)
        verb = verbs[request.method == "POST"]
        for model, model_admin in self._registry.items():
            if place == f"{model._meta.app_label}_{model._meta.model_name}":
                noun = getattr(model_admin, "noun", model._meta.model_name)
                return f"{noun}.{getattr(model_admin, 'verbs', {}).get(page, verb)}"
        return f"admin.{verb}"
