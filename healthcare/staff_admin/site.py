"""The one admin site, in a module of its own: Django makes it while it reads the modules that register with it."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from csp.decorators import csp_update
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _
from unfold.sites import UnfoldAdminSite

from healthcare import audit_context
from healthcare.web.rate_limits import with_wait

#: The last part of a page's name → what it did, when it is through, by GET and by POST.
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


#: What the theme asks of the content policy: its pages are driven by Alpine, which makes functions of the attributes
#: that the theme's templates hold, and sizes things by style attributes. Scripts are files of this server all the same.
themed = csp_update({"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]})


class OwnPasswordView(PasswordChangeView):
    """Whose form may have to say that there were too many attempts."""

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "request": self.request}


class HospitalAdminSite(UnfoldAdminSite):
    """The staff's entrance: accounts with the role staff, doctor or admin."""

    site_header = _("Smart Healthcare")
    site_title = _("Smart Healthcare")
    index_title = _("Records")
    site_url = "/api"
    empty_value_display = "–"

    #: The form by which somebody changes their own password; the accounts' room has one.
    password_change_form: type[Any] | None = None

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._pages: list[URLPattern] = []
        #: Name of a page that belongs to no model → what it did, by GET and by POST.
        self._deeds: dict[str, tuple[str, str]] = {
            "login": ("admin.viewed", "account.logged_in"),
            "logout": ("account.logged_out", "account.logged_out"),
            "password_change": ("admin.viewed", "account.password_changed"),
            # Django names it after a model that is not ours.
            "auth_user_password_change": ("account.viewed", "account.password_changed"),
        }
        self._dashboard: list[Callable[[HttpRequest], dict[str, Any]]] = []
        self._gates: list[Callable[[HttpRequest], HttpResponse | None]] = []
        # It logs deletions before it tries them, and knows nothing of services; records are deleted one by one.
        self.disable_action("delete_selected")
        self._themed_login: Callable[..., Any] = themed(super().login)

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Leave out the models of allauth: its links and codes are no records to be edited by hand."""
        models = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
        ours = [model for model in models if not model.__module__.startswith("allauth.")]
        super().register(ours, admin_class, **options)

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return with_wait(request, self._themed_login(request, extra_context))

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The theme's own search keeps what it found in the cache; each list has one, and the trail hears of it."""
        raise Http404

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Django's page, with our form."""
        context = {**self.each_context(request), **(extra_context or {})}
        done = reverse("admin:password_change_done", current_app=self.name)
        request.current_app = self.name
        view = OwnPasswordView.as_view(form_class=self.password_change_form, success_url=done, extra_context=context)
        return with_wait(request, view(request))

    def add_page(self, route: str, view: Callable[..., HttpResponse], name: str, *, actions: tuple[str, str]) -> None:
        """Add a page of a room that belongs to none of its models; `admin:name` reverses to it.

        `actions` is what it does by GET and by POST, for the audit trail to say of whom it turns away.
        """
        self._deeds[name] = actions
        self._pages.append(path(route, self.admin_view(view), name=name))

    def add_to_dashboard(self, part: Callable[[HttpRequest], dict[str, Any]]) -> None:
        """Have `part` give the first page what a room has for whoever is logged in.

        "figures" (label, value, remark, path) of all parts stand together; every other name is the part's own. A part
        leaves out what the reader may not see.
        """
        self._dashboard.append(part)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context: dict[str, Any] = {"figures": []}
        for part in self._dashboard:
            given = part(request)
            context["figures"] += given.pop("figures", [])
            context |= given
        return super().index(request, {**context, **(extra_context or {})})

    def add_gate(self, gate: Callable[[HttpRequest], HttpResponse | None]) -> None:
        """Have `gate` answer in the place of a page, when it has something to say first."""
        self._gates.append(gate)

    def get_urls(self) -> list[Any]:
        return [*self._pages, *super().get_urls()]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Put on record who was turned away, whatever the page: it is the one way to all of them."""
        validated = themed(super().admin_view(view, cacheable))

        def attempted(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            audit_context.begin_action(self.audit_action(request), subject=kwargs.get("object_id") or kwargs.get("id"))
            if not self.has_permission(request):
                audit_context.mark_refused(
                    "permission_denied" if request.user.is_authenticated else "not_authenticated"
                )
            elif instead := next(filter(None, (gate(request) for gate in self._gates)), None):
                return instead
            try:
                return validated(request, *args, **kwargs)
            except PermissionDenied:
                audit_context.mark_refused("permission_denied")
                raise

        return update_wrapper(attempted, validated)

    def audit_action(self, request: HttpRequest) -> str:
        """What the page is called in the audit trail: "patients_patient_changelist" is "patient.listed"."""
        name = (request.resolver_match.url_name if request.resolver_match else None) or ""
        for model, model_admin in self._registry.items():
            place = f"{model._meta.app_label}_{model._meta.model_name}_"
            if name.startswith(place):
                page = name.removeprefix(place)
                resource = getattr(model_admin, "resource", model._meta.model_name)
                action_name = PAGE_ACTIONS.get(page, OTHER_PAGE_ACTIONS)[request.method == "POST"]
                return f"{resource}.{getattr(model_admin, 'action_names', {}).get(page, action_name)}"
        actions = self._deeds.get(name) or tuple(f"admin.{action_name}" for action_name in OTHER_PAGE_ACTIONS)
        return actions[request.method == "POST"]
