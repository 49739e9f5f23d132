"""The admin site of the project.

The site has a module of its own, because Django creates it while it imports the modules that register models with it.
"""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any, cast

from csp.decorators import csp_update
from django.contrib import admin
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from unfold.sites import UnfoldAdminSite

from healthcare import audit_context
from healthcare.web.rate_limits import with_wait

#: The last part of a URL name → the action in the audit log, by GET and by POST.
PAGE_ACTIONS = {
    "changelist": ("listed", "listed"),
    "add": ("created", "created"),
    "change": ("viewed", "amended"),
    "delete": ("viewed", "deleted"),
    "export": ("exported", "exported"),
    "import": ("imported", "imported"),
    "process_import": ("imported", "imported"),
}
OTHER_PAGE_ACTIONS = ("viewed", "amended")


#: Relaxes the content security policy for the theme: its JavaScript library (Alpine) evaluates expressions in
#: attributes, and its pages have style attributes. Scripts are still loaded from this server only.
relax_csp_for_theme = csp_update({"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]})


class OwnPasswordView(PasswordChangeView):
    """Password page that passes the request to its form, which marks the request if there are too many attempts."""

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}


class HospitalAdminSite(UnfoldAdminSite):
    """The admin for accounts with the role staff, doctor or admin."""

    site_header = _("Smart Healthcare")
    site_title = _("Smart Healthcare")
    index_title = _("Records")
    site_url = "/api"
    empty_value_display = "–"

    #: The form with which users change their own password. The app `accounts` sets it.
    password_change_form: type[Any] | None = None

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._pages: list[URLPattern] = []
        #: URL name of a page that belongs to no model → the action in the audit log, by GET and by POST.
        self._page_actions: dict[str, tuple[str, str]] = {
            "login": ("admin.viewed", "account.logged_in"),
            "logout": ("account.logged_out", "account.logged_out"),
            "password_change": ("admin.viewed", "account.password_changed"),
            # Django's UserAdmin uses this URL name for every user model.
            "auth_user_password_change": ("account.viewed", "account.password_changed"),
        }
        self._dashboard_parts: list[Callable[[HttpRequest], dict[str, Any]]] = []
        self._interceptors: list[Callable[[HttpRequest], HttpResponse | None]] = []
        # Django's action logs deletions before it tries them, and calls no services.
        self.disable_action("delete_selected")
        self._login_view: Callable[..., Any] = relax_csp_for_theme(super().login)

    def register(self, model_or_iterable: Any, admin_class: object = None, **options: Any) -> None:
        """Register models, but not those of allauth: its links and codes must not be edited by hand."""
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
        own_models = [model for model in models if not model.__module__.startswith("allauth.")]
        super().register(own_models, admin_class, **options)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return with_wait(request, self._login_view(request, extra_context))

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Disable the theme's search, which caches results and is not audited. Each list has a search of its own."""
        raise Http404

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show Django's page with `password_change_form`."""
        context = {**self.each_context(request), **(extra_context or {})}
        done = reverse("admin:password_change_done", current_app=self.name)
        request.current_app = self.name
        view = OwnPasswordView.as_view(form_class=self.password_change_form, success_url=done, extra_context=context)
        return with_wait(request, view(request))

    def add_page(
        self, route: str, view: Callable[..., HttpResponseBase], name: str, *, actions: tuple[str, str]
    ) -> None:
        """Add a page that belongs to no model. Its URL name is `admin:<name>`.

        `actions` are its actions in the audit log, by GET and by POST, for entries about requests that are refused.
        """
        self._page_actions[name] = actions
        self._pages.append(path(route, self.admin_view(view), name=name))

    def add_to_dashboard(self, part: Callable[[HttpRequest], dict[str, Any]]) -> None:
        """Register a function that returns template context for the first page.

        The lists "figures" (label, value, remark, path) of all parts are joined. Every other name must be unique. A
        part must leave out what the user may not see.
        """
        self._dashboard_parts.append(part)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context: dict[str, Any] = {"figures": []}
        for part in self._dashboard_parts:
            part_context = part(request)
            context["figures"] += part_context.pop("figures", [])
            context |= part_context
        return super().index(request, {**context, **(extra_context or {})})

    def add_interceptor(self, interceptor: Callable[[HttpRequest], HttpResponse | None]) -> None:
        """Register a function that may return a response in place of any page, such as a redirect."""
        self._interceptors.append(interceptor)

    def get_urls(self) -> list[Any]:
        return [*self._pages, *super().get_urls()]

    def admin_view(self, view: Callable[..., HttpResponseBase], cacheable: bool = False) -> Any:
        """Wrap a view of the admin so that the audit log has an entry for each refused request.

        All pages of the admin are wrapped by this method.
        """
        checked_view = relax_csp_for_theme(super().admin_view(view, cacheable))

        def audited_view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            audit_context.begin_action(self.audit_action(request), subject=kwargs.get("object_id") or kwargs.get("id"))
            if not self.has_permission(request):
                audit_context.mark_refused(
                    "permission_denied" if request.user.is_authenticated else "not_authenticated"
                )
            elif response := next(filter(None, (intercept(request) for intercept in self._interceptors)), None):
                return response
            try:
                return checked_view(request, *args, **kwargs)
            except PermissionDenied:
                audit_context.mark_refused("permission_denied")
                raise

        return update_wrapper(audited_view, checked_view)

    def audit_action(self, request: HttpRequest) -> str:
        """Return the action of a page in the audit log: "patients_patient_changelist" is "patient.listed"."""
        name = (request.resolver_match.url_name if request.resolver_match else None) or ""
        for model, model_admin in self._registry.items():
            prefix = f"{model._meta.app_label}_{model._meta.model_name}_"
            if name.startswith(prefix):
                page = name.removeprefix(prefix)
                resource = getattr(model_admin, "resource", model._meta.model_name)
                action_name = PAGE_ACTIONS.get(page, OTHER_PAGE_ACTIONS)[request.method == "POST"]
                return f"{resource}.{getattr(model_admin, 'action_names', {}).get(page, action_name)}"
        actions = self._page_actions.get(name) or tuple(f"admin.{action_name}" for action_name in OTHER_PAGE_ACTIONS)
        return actions[request.method == "POST"]


def hospital_site() -> HospitalAdminSite:
    """Return the project's admin site, which is Django's `admin.site`, with its own type."""
    return cast(HospitalAdminSite, admin.site)
