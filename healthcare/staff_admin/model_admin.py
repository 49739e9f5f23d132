"""Base classes of every ModelAdmin of the project.

A form of the admin is processed like a request of the API: the app's serializer validates the values, the app's
service writes them, and an error that the service raises is shown on the form. Django's own saving and deleting are
never used.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest, ValidationError
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise, cached_property
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin as ThemedModelAdmin
from unfold.templatetags import unfold_list
from unfold.views import ChangeList

from healthcare import audit_context, clock
from healthcare.audit_log import recorder
from healthcare.errors import DomainError
from healthcare.outbox import events
from healthcare.staff_admin.forms import ResourceForm

COUNT_LIMIT = 1_000
#: The maximum number of rows that one action changes: enough for a doctor's day, but not the whole list.
MAX_SELECTED_ROWS = 200


class CappedPaginator(Paginator):
    """Paginator that counts up to COUNT_LIMIT: counting a million documents takes longer than showing fifty of them."""

    @cached_property
    def count(self) -> int:
        return self.object_list[: COUNT_LIMIT + 1].count()  # type: ignore[attr-defined]


def _compute_once(result_headers: Callable[[Any], Iterable[dict[str, Any]]]) -> Callable[[Any], list[dict[str, Any]]]:
    """Cache the headers of a list on its ChangeList.

    The theme computes the headers of a list once more for each of its rows, which takes a third of a page's time.
    """

    def cached_headers(changelist: Any) -> list[dict[str, Any]]:
        if not hasattr(changelist, "cached_headers"):
            changelist.cached_headers = list(result_headers(changelist))
        return changelist.cached_headers

    return cached_headers


unfold_list.result_headers = _compute_once(unfold_list.result_headers)


class SortableChangeList(ChangeList):
    """List that sorts by the columns in `sortable_by` only. Django hides the links of the others but sorts by them."""

    def get_ordering_field(self, field_name: str) -> Any:
        return super().get_ordering_field(field_name) if field_name in self.sortable_by else None


class AuditedAdmin(ThemedModelAdmin):
    """A ModelAdmin in the site's theme that records in the audit log what was shown, written or refused.

    Every ModelAdmin of the site inherits from this class (tests/audit/test_guard.py).
    """

    #: The resource in the audit log: "patient" gives the action "patient.listed".
    resource: ClassVar[str]
    #: The last part of a URL name → the action's name, where it differs from PAGE_ACTIONS of the site.
    action_names: ClassVar[Mapping[str, str]] = {}
    #: Whether the rows are about people. Those of the fee table are not.
    names_people: ClassVar[bool] = True
    #: Whether a service records the writes of the forms.
    writes_by_services: ClassVar[bool] = False

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ChangeList]:
        return SortableChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Allow the filters that the page offers. Django allows any lookup of any local field, such as regexes."""
        for offered in self.get_list_filter(request):
            name = offered[0] if isinstance(offered, tuple) else getattr(offered, "parameter_name", offered)
            if lookup == name or lookup.startswith(f"{name}__"):
                return super().lookup_allowed(lookup, value, request)
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is None:
            audit_context.mark_refused("not_found")
        elif self.names_people:
            patient_id = getattr(row, "patient_id", None)
            audit_context.record_access(f"{self.resource}.viewed", [patient_id], subject=row.pk)
            audit_context.involves(patient_id)
        return row

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list. Raises: IncorrectLookupParameters, also for NUL characters, which PostgreSQL rejects."""
        if any("\0" in value for _, values in request.GET.lists() for value in values):
            raise IncorrectLookupParameters
        return super().get_changelist_instance(request)

    def response_action(self, request: HttpRequest, queryset: object, *args: Any, **kwargs: Any) -> HttpResponse | None:
        """Reject primary keys of the wrong type, which Django would pass on to the database."""
        for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
            try:
                self.opts.pk.to_python(key)
            except ValidationError as error:
                raise BadRequest from error
        return super().response_action(request, queryset, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        response = super().changelist_view(request, extra_context)
        changelist = (getattr(response, "context_data", None) or {}).get("cl")
        if changelist is not None and self.names_people:
            # The queryset caches these rows, so the page shows the same ones.
            rows = list(changelist.result_list)
            audit_context.record_access(f"{self.resource}.listed", [getattr(row, "patient_id", None) for row in rows])
        return response

    # Django calls these three methods after each write. Services have recorded their writes already.

    def log_addition(self, request: HttpRequest, obj: object, message: object) -> Any:
        self._record("created", request, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: object, message: object) -> Any:
        # The message is empty if the form was saved without changes.
        if message:
            self._record("amended", request, obj)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for obj in queryset:
            self._record("deleted", request, obj)
        return super().log_deletions(request, queryset)

    def _record(self, action_name: str, request: HttpRequest, obj: Any) -> None:
        if not self.writes_by_services and not audit_context.is_recorded(self.resource):
            recorder.record(f"{self.resource}.{action_name}", actor=request.user, subject=obj.pk)


class DomainErrorAdmin(AuditedAdmin):
    """A ModelAdmin that shows a service's error on the form, with the values that were typed."""

    def get_form(self, request: HttpRequest, obj: object = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if not hasattr(request, "domain_error"):
            return form
        error: DomainError = request.domain_error

        class FormWithDomainError(form):  # type: ignore[valid-type, misc]
            def clean(self) -> Any:
                values = super().clean()
                if isinstance(self, ResourceForm):
                    self.add_domain_error(error.detail, field=error.field, row=error.row)
                else:
                    self.add_error(error.field if error.field in self.fields else None, error.detail)
                return values

        return FormWithDomainError

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as error:
            audit_context.mark_refused(error.code)
            request.domain_error = error  # type: ignore[attr-defined]
        # Show the form of the same POST again, with the error.
        return super().changeform_view(request, object_id, form_url, extra_context)

    # Actions on several rows: ask for confirmation, apply the action to each row, and report the error of each failure.

    def selected_rows(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> list[Any]:
        """Return the rows of an action. If there are too many, return none and add a message."""
        rows = list(queryset[: MAX_SELECTED_ROWS + 1])
        if len(rows) > MAX_SELECTED_ROWS:
            text = _("Too many rows: select at most %(limit)d.") % {"limit": MAX_SELECTED_ROWS}
            self.message_user(request, text, messages.ERROR)
            return []
        return rows

    def apply_to_rows(self, request: HttpRequest, rows: Iterable[Any], operation: Callable[[Any], Any]) -> list[Any]:
        """Return the results of `operation` for each row. Errors become messages and are recorded in the audit log."""
        results = []
        for row in rows:
            try:
                results.append(operation(row))
            except DomainError as error:
                patient_id = getattr(row, "patient_id", None)
                recorder.record(
                    f"{self.resource}.amended",
                    actor=request.user,
                    patient_ids=[patient_id] if patient_id else [],
                    subject=row.pk,
                    outcome=audit_context.REFUSED,
                    reason=error.code,
                )
                self.message_user(request, f"{row.pk}: {error.detail}", messages.ERROR)
        return results

    @contextmanager
    def report_domain_errors(self, request: HttpRequest) -> Iterator[None]:
        """Turn a DomainError of the block into a message, and record it in the audit log."""
        try:
            yield
        except DomainError as error:
            audit_context.mark_refused(error.code)
            self.message_user(request, error.detail, messages.ERROR)

    def redirect_to_row(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the row's page.

        Dialogs send their form by htmx, which would load the page into the dialog if there were no HX-Redirect header.
        """
        names = (self.model._meta.app_label, self.model._meta.model_name)
        page = reverse("admin:{}_{}_change".format(*names), args=[object_id])
        if request.headers.get("HX-Request"):
            return HttpResponse(headers={"HX-Redirect": page})
        return HttpResponseRedirect(page)

    def selected_rows_page(
        self,
        request: HttpRequest,
        rows: Sequence[Any],
        *,
        title: str | Promise,
        explanation: str | Promise,
        headings: Sequence[str | Promise],
        cells: Callable[[Any], Sequence[object]],
        button: str | Promise | None = None,
    ) -> HttpResponse:
        """Return a page with the rows as a table. With a `button`, the page asks for confirmation of the action.

        The button sends the form of the list again by POST, with `confirmed`.
        """
        audit_context.record_access(f"{self.resource}.listed", [getattr(row, "patient_id", None) for row in rows])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "explanation": explanation,
            "headings": headings,
            "table": [cells(row) for row in rows],
            "button": button,
            "keys": [row.pk for row in rows],
            "action": request.POST.get("action"),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/selected_rows.html", context)


class ResourceAdmin(DomainErrorAdmin):
    """A ModelAdmin whose writes are the app's services.

    A subclass says which serializers validate the form (`form`), which services write (`create`, `change`, `remove`),
    and which rows the user may see (`visible_to`).
    """

    form: type[ResourceForm]
    writes_by_services = True
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_select_related = ()
    #: No column by default: sorting 200,000 appointments by a column without an index takes two seconds.
    sortable_by: Any = ()
    #: Fields that cannot be changed after the object was created.
    fixed_fields: ClassVar[tuple[str, ...]] = ()
    computed_fields: ClassVar[tuple[str, ...]] = ()
    #: Permissions of accounts with the role doctor: "view", "add", "change" or "delete", as in the API. The services
    #: check the single row, as for the API. All other accounts need a permission, such as a group's.
    doctor_permissions: ClassVar[frozenset[str]] = frozenset()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._doctor_may(request, "view") or super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self._doctor_may(request, "view") or super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._doctor_may(request, "add") or super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        is_allowed = self._doctor_may(request, "change") and (obj is None or self.is_of_doctor(request.user, obj))
        return is_allowed or super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        is_allowed = self._doctor_may(request, "delete") and (obj is None or self.is_of_doctor(request.user, obj))
        return is_allowed or super().has_delete_permission(request, obj)

    def is_of_doctor(self, user: Any, obj: Any) -> bool:
        """Return whether the row belongs to the doctor who has this account."""
        return False

    def _doctor_may(self, request: HttpRequest, action: str) -> bool:
        return (
            action in self.doctor_permissions
            and request.user.is_active
            and getattr(request.user, "role", "") == "doctor"
        )

    def create(self, actor: Any, **values: Any) -> models.Model:
        raise NotImplementedError

    def change(self, actor: Any, key: Any, **values: Any) -> models.Model:
        raise NotImplementedError

    def remove(self, actor: Any, key: Any) -> None:
        raise NotImplementedError

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, obj: Any) -> str:
        return clock.display(obj.created_at)

    def visible_to(self, user: Any) -> models.QuerySet[Any]:
        raise NotImplementedError

    def get_form(self, request: HttpRequest, obj: object = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.actor = request.user
        return form

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        found = self.visible_to(request.user)
        return found.order_by(*self.get_ordering(request))

    def get_readonly_fields(self, request: HttpRequest, obj: object = None) -> tuple[str, ...]:
        return (*self.computed_fields, *((*self.fixed_fields, *self._restricted_fields(request)) if obj else ()))

    def _restricted_fields(self, request: HttpRequest) -> list[str]:
        """Return the fields that the user's role may not change, as in the API."""
        changes = self.form.changes
        writable = changes.writable.get(getattr(request.user, "role", ""))
        return [] if writable is None else [name for name in changes().get_fields() if name not in writable]

    def get_fields(self, request: HttpRequest, obj: object = None) -> Any:
        names = super().get_fields(request, obj)
        # The form of a new object leaves out the fields that the system computes.
        return names if obj else [name for name in names if name not in self.computed_fields]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change and not form.validated:
            return
        saved = (
            self.change(request.user, obj.pk, **form.validated)
            if change
            else self.create(request.user, **form.validated)
        )
        obj.__dict__.update(saved.__dict__)

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.remove(request.user, obj.pk)

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        with self.report_domain_errors(request), events.defer_delivery(), transaction.atomic(using="default"):
            # Django logs the deletion before it deletes. If the service raises an error, the log is rolled back.
            return super().delete_view(request, object_id, extra_context)
        return self.redirect_to_row(request, object_id)
