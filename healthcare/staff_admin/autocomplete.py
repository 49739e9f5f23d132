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

#: Rows that a field finds while somebody types into it.
MAX_RESULTS = 20


class AutocompleteField(forms.CharField):
    """The id of a record of another room, found by name while somebody types: `page` is the url name of its finder."""

    def __init__(self, *, page: str, **kwargs: Any) -> None:
        widget = UnfoldAdminTextInputWidget(attrs={"data-find": reverse_lazy(page)})
        kwargs.setdefault("help_text", _("The id, or words of the name to find it by."))
        super().__init__(widget=widget, **kwargs)


class AccountAutocompleteField(AutocompleteField):
    """The number of an account."""

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise forms.ValidationError(_("The number of an account, please."))
        return int(text)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return str(initial or "") != str(data or "").strip()


class AutocompleteMixin:
    """An admin whose rows the fields of other rooms find by name, at `<list>/find/?q=`."""

    resource: ClassVar[str]
    #: Whether the rows are patients, whose finding is on record.
    finds_patients: ClassVar[bool] = False

    def find(self, user: Any, words: str) -> Iterable[tuple[str, str]]:
        """The ids and labels of rows that the account may see, the likeliest first."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        opts = self.model._meta  # type: ignore[attr-defined]
        view = self.admin_site.admin_view(self.find_page)  # type: ignore[attr-defined]
        return [path("find/", view, name=f"{opts.app_label}_{opts.model_name}_find"), *super().get_urls()]  # type: ignore[misc]

    def find_page(self, request: HttpRequest) -> JsonResponse:
        if not self.has_view_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        found = dict(self.find(request.user, request.GET.get("q", "").strip()[:200]))
        if self.finds_patients:
            audit_context.record_access(f"{self.resource}.listed", found)
        return JsonResponse({"results": [{"id": key, "label": label} for key, label in found.items()]})


#: Behind every text that begins the same, by code point.
_LAST = "\U0010ffff"


def search_by_name(visible: QuerySet[Any], words: str, *, at_most: int) -> list[Any]:
    """Rows whose id is `words`, whose name begins with them, or holds all of them as whole words; in this order.

    Each of the three is one indexed query (primary key, name, text of the name), and the later ones are not asked when
    the first have found enough. Nothing is found by no words.
    """
    if not words:
        return []
    visible = visible.order_by("name", "pk")
    found = {row.pk: row for row in visible.filter(pk=words)}
    for fitting in (visible.filter(name__gte=words, name__lt=words + _LAST), visible.filter(name__search=words)):
        if len(found) < at_most:
            found |= {row.pk: row for row in fitting[:at_most] if row.pk not in found}
    return list(found.values())[:at_most]
