"""What every room's admin is made of, and the admin of the event log.

A form here goes the way that a request of the API goes: the room's serializer judges the values, the room's service
writes them, and what the service refuses is a sentence on the form. Django's own saving and deleting is never used.
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
from django.utils.functional import cached_property
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
#: Rows that one click changes: a doctor's day, not the whole list.
MAX_SELECTED_ROWS = 200


class CappedPaginator(Paginator):
    """Counts up to a limit: counting a million documents takes longer than showing fifty of them."""

    @cached_property
    def count(self) -> int:
        return self.object_list[: COUNT_LIMIT + 1].count()  # type: ignore[attr-defined]


def _headers_once(headers: Callable[[Any], Iterable[dict[str, Any]]]) -> Callable[[Any], list[dict[str, Any]]]:
    """The theme draws the headings of a list once more for each of its rows, which is a third of a page's time."""

    def remembered(changelist: Any) -> list[dict[str, Any]]:
        if not hasattr(changelist, "drawn_headers"):
            changelist.drawn_headers = list(headers(changelist))
        return changelist.drawn_headers

    return remembered


unfold_list.result_headers = _headers_once(unfold_list.result_headers)


class SortableChangeList(ChangeList):
    """Sorts by the columns that `sortable_by` names and no others; Django only leaves out the links."""

    def get_ordering_field(self, field_name: str) -> Any:
        return super().get_ordering_field(field_name) if field_name in self.sortable_by else None


class AuditedAdmin(ThemedModelAdmin):
    """A ModelAdmin in the site's theme whose pages are in the audit trail: whom they show, what was written or refused.

    Every admin of the site is one; a test holds it.
    """

    #: What its rows are called there: "patient" gives "patient.listed".
    resource: ClassVar[str]
    #: The last part of a page's name → what it did, where `healthcare.staff_admin.site.PAGE_ACTIONS` has another word.
    action_names: ClassVar[Mapping[str, str]] = {}
    #: Whether its rows say something about a person; the fee table does not.
    names_people: ClassVar[bool] = True
    #: Whether a service records what a form writes.
    writes_by_services: ClassVar[bool] = False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return SortableChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Only the filters that the page offers; Django takes any lookup of any local field, patterns too."""
        for offered in self.get_list_filter(request):
            name = offered[0] if isinstance(offered, tuple) else getattr(offered, "parameter_name", offered)
            if lookup == name or lookup.startswith(f"{name}__"):
                return super().lookup_allowed(lookup, value, request)
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        found = super().get_object(request, object_id, from_field)
        if found is not None and self.names_people:
            patient_id = getattr(found, "patient_id", None)
            audit_context.record_access(f"{self.resource}.viewed", [patient_id], subject=found.pk)
            audit_context.involves(patient_id)
        return found

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Raises: IncorrectLookupParameters, besides Django's own reasons for what PostgreSQL cannot be asked."""
        if any("\0" in value for _, values in request.GET.lists() for value in values):
            raise IncorrectLookupParameters
        return super().get_changelist_instance(request)

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> HttpResponse | None:
        """Refuse keys that are none of this list's before they reach a query, which Django leaves to the database."""
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
            # Read here and kept by the queryset, so the page shows these rows and no others.
            rows = list(changelist.result_list)
            audit_context.record_access(f"{self.resource}.listed", [getattr(row, "patient_id", None) for row in rows])
        return response

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        audit_context.mark_refused("not_found")
        return super()._get_obj_does_not_exist_redirect(request, opts, object_id)

    # Where Django notes what was done; the rooms' services have told the trail already.

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record("created", request, obj)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        # A form that was saved as it was has an empty message.
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
    """An admin on whose form a service's refusal is a sentence, with everything that was typed still there."""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if not hasattr(request, "refusal"):
            return form
        refusal: DomainError = request.refusal

        class FormWithRefusal(form):  # type: ignore[valid-type, misc]
            def clean(self) -> Any:
                values = super().clean()
                if isinstance(self, ResourceForm):
                    self.add_domain_error(refusal.detail, field=refusal.field, row=refusal.row)
                else:
                    self.add_error(refusal.field if refusal.field in self.fields else None, refusal.detail)
                return values

        return FormWithRefusal

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except DomainError as refusal:
            audit_context.mark_refused(refusal.code)
            request.refusal = refusal  # type: ignore[attr-defined]
        # Once more, from the same POST, with the reason on the form.
        return super().changeform_view(request, object_id, form_url, extra_context)

    # What is done with several rows at once: ask, then do it with each, and say of each refusal which row it was.

    def chosen(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> list[Any]:
        """The rows of an action; none, with a sentence for the reader, when they are too many."""
        rows = list(queryset[: MAX_SELECTED_ROWS + 1])
        if len(rows) > MAX_SELECTED_ROWS:
            self.message_user(request, _("That are too many at once: narrow the list down."), messages.ERROR)
            return []
        return rows

    def apply(self, request: HttpRequest, rows: Iterable[Any], operation: Callable[[Any], Any]) -> list[Any]:
        """What `operation` made of each row; those that are refused are sentences for the reader, and on record."""
        done = []
        for row in rows:
            try:
                done.append(operation(row))
            except DomainError as refusal:
                patient_id = getattr(row, "patient_id", None)
                recorder.record(
                    f"{self.resource}.amended",
                    actor=request.user,
                    patient_ids=[patient_id] if patient_id else [],
                    subject=row.pk,
                    outcome=audit_context.REFUSED,
                    reason=refusal.code,
                )
                self.message_user(request, f"{row.pk}: {refusal.detail}", messages.ERROR)
        return done

    @contextmanager
    def telling(self, request: HttpRequest) -> Iterator[None]:
        """What a service refuses in here is a sentence for the reader, and on record."""
        try:
            yield
        except DomainError as refusal:
            audit_context.mark_refused(refusal.code)
            self.message_user(request, refusal.detail, messages.ERROR)

    def back_to(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """To the row's page; from a dialog, which htmx sends, by its header: it would put the page into the dialog."""
        names = (self.model._meta.app_label, self.model._meta.model_name)
        page = reverse("admin:{}_{}_change".format(*names), args=[object_id])
        if request.headers.get("HX-Request"):
            return HttpResponse(headers={"HX-Redirect": page})
        return HttpResponseRedirect(page)

    def show_chosen(
        self,
        request: HttpRequest,
        rows: Sequence[Any],
        *,
        title: Any,
        explanation: Any,
        headings: Sequence[Any],
        cells: Callable[[Any], Sequence[Any]],
        button: Any = None,
    ) -> HttpResponse:
        """A page with the rows as a table; with a `button` it asks whether the action shall be carried out.

        The button sends the list's own form once more, by POST, with `confirmed`.
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
        return TemplateResponse(request, "admin/chosen_rows.html", context)


class ResourceAdmin(DomainErrorAdmin):
    """An admin of a room's model, whose writes are the room's services.

    A room says which serializers serializer the form (`form`), what its services are (`create`, `change`, `remove`), and
    which rows the account may see (`visible_to`).
    """

    form: type[ResourceForm]
    writes_by_services = True
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    list_select_related = ()
    #: A column without an index sorts everything before it shows fifty: two seconds at 200,000 appointments.
    sortable_by: Any = ()
    #: Fields that are given once, when the object is made.
    fixed_fields: ClassVar[tuple[str, ...]] = ()
    computed_fields: ClassVar[tuple[str, ...]] = ()
    #: What accounts with the role doctor may do here, of "view", "add", "change", "delete": as the API lets them. The
    #: services decide about the single row, as for the API; everybody else needs a group's permission.
    for_doctors: ClassVar[frozenset[str]] = frozenset()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._is_for_doctor(request, "view") or super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_for_doctor(request, "view") or super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._is_for_doctor(request, "add") or super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_theirs = self._is_for_doctor(request, "change") and (obj is None or self.is_of_doctor(request.user, obj))
        return is_theirs or super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_theirs = self._is_for_doctor(request, "delete") and (obj is None or self.is_of_doctor(request.user, obj))
        return is_theirs or super().has_delete_permission(request, obj)

    def is_of_doctor(self, user: Any, obj: Any) -> bool:
        """Whether the row belongs to the doctor whose account it is."""
        return False

    def _is_for_doctor(self, request: HttpRequest, deed: str) -> bool:
        return deed in self.for_doctors and request.user.is_active and getattr(request.user, "role", "") == "doctor"

    def create(self, actor: Any, **values: Any) -> models.Model:
        raise NotImplementedError

    def change(self, actor: Any, key: Any, **values: Any) -> models.Model:
        raise NotImplementedError

    def remove(self, actor: Any, key: Any) -> None:
        raise NotImplementedError

    @admin.display(description=_("made"), ordering="created_at")
    def made(self, obj: Any) -> str:
        return clock.display(obj.created_at)

    def visible_to(self, user: Any) -> models.QuerySet[Any]:
        raise NotImplementedError

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        form.actor = request.user
        return form

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        found = self.visible_to(request.user)
        return found.order_by(*self.get_ordering(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.computed_fields, *((*self.fixed_fields, *self._fields_of_others(request)) if obj else ()))

    def _fields_of_others(self, request: HttpRequest) -> list[str]:
        """What the account's role may not write of a row, as in the API."""
        changes = self.form.changes
        theirs = changes.writable.get(getattr(request.user, "role", ""))
        return [] if theirs is None else [name for name in changes().get_fields() if name not in theirs]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        names = super().get_fields(request, obj)
        # What the system fills in has no place on the form of something new.
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
        with self.telling(request), events.defer_delivery(), transaction.atomic(using="default"):
            # Django notes the deletion in its log before it deletes: the note goes when the service refuses.
            return super().delete_view(request, object_id, extra_context)
        return self.back_to(request, object_id)
