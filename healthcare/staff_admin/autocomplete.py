"""Autocomplete of records by name, for form fields that hold an id."""

from collections.abc import Iterable
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from django.urls import URLPattern, path, reverse_lazy
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextInputWidget

from healthcare import audit_context
from healthcare.staff_admin.model_admin import AuditedAdmin

#: The maximum number of results of one request.
MAX_RESULTS = 20


class AutocompleteField(forms.CharField):
    """The id of a record of another app. `url_name` is the view that suggests records while the user types."""

    def __init__(self, *, url_name: str, **kwargs: Any) -> None:
        widget = UnfoldAdminTextInputWidget(attrs={"data-autocomplete": reverse_lazy(url_name)})
        kwargs.setdefault("help_text", _("Type the id, or words of the name to search for it."))
        super().__init__(widget=widget, **kwargs)


class AccountAutocompleteField(AutocompleteField):
    """The number of an account."""

    def to_python(self, value: object) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise forms.ValidationError(_("Enter the number of an account."))
        return int(text)

    def has_changed(self, initial: object, data: object) -> bool:
        return str(initial or "") != str(data or "").strip()


class AutocompleteMixin(AuditedAdmin):
    """A ModelAdmin whose records the forms of other apps search for by name, at `<list>/autocomplete/?q=`."""

    #: Whether the results are patients. If so, the audit log names them.
    suggests_patients: ClassVar[bool] = False

    def autocomplete_results(self, user: Any, words: str) -> Iterable[tuple[str, str]]:
        """Return ids and labels of records that the user may see, the best matches first."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        opts = self.model._meta
        view = self.admin_site.admin_view(self.autocomplete_page)
        name = f"{opts.app_label}_{opts.model_name}_autocomplete"
        return [path("autocomplete/", view, name=name), *super().get_urls()]

    def autocomplete_page(self, request: HttpRequest) -> JsonResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        words = request.GET.get("q", "").strip()[:200]
        results = dict(self.autocomplete_results(request.user, words))
        if self.suggests_patients:
            audit_context.record_access(f"{self.resource}.listed", results)
        return JsonResponse({"results": [{"id": key, "label": label} for key, label in results.items()]})


#: The highest code point: `name < prefix + _LAST` includes every name that begins with the prefix.
_LAST = "\U0010ffff"


def search_by_name(visible: QuerySet[Any], words: str, *, at_most: int) -> list[Any]:
    """Return rows whose id is `words`, then those whose name begins with `words`, then those with all the words.

    Each of the three is one query that uses an index: the primary key, the name, and the text index of the name. A
    later query is left out if the earlier ones have found enough. Without words the result is empty.
    """
    if not words:
        return []
    visible = visible.order_by("name", "pk")
    found = {row.pk: row for row in visible.filter(pk=words)}
    for matches in (visible.filter(name__gte=words, name__lt=words + _LAST), visible.filter(name__search=words)):
        if len(found) < at_most:
            found |= {row.pk: row for row in matches[:at_most] if row.pk not in found}
    return list(found.values())[:at_most]
