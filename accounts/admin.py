"""Accounts in the staff's admin. Passwords by Django's own forms, everything else by the services."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts import services
from accounts.models import User
from healthcare.admin import AuditedAdmin, CappedPaginator, RefusalsOnForm

_BY_SERVICE = ("name", "role", "is_active")


class AccountCreationForm(AdminUserCreationForm):
    """Two passwords and what an account needs; e-mails are compared in one spelling."""

    usable_password = None  # type: ignore[assignment] # Django's way to remove a form field

    class Meta:
        model = User
        fields = ("email", "name", "role")


@admin.register(User)
class AccountAdmin(RefusalsOnForm, UserAdmin):
    noun = "account"
    add_form = AccountCreationForm
    list_display = ("id", "role", "is_active", "created_at")
    list_filter = ("role", "is_active")
    search_fields = ("email",)
    search_help_text = _("The whole e-mail address.")
    ordering = ("id",)
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    filter_horizontal = ("groups", "user_permissions")
    readonly_fields = ("email", "last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "role", "is_active")}),
        (_("Permissions of staff"), {"fields": ("groups", "user_permissions")}),
        (_("Dates"), {"fields": ("last_login", "created_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "role", "password1", "password2")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        email = search_term.strip().casefold()
        return (queryset.filter(email=email) if email else queryset), False

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Accounts are disabled, not deleted: bills, the log and the audit trail go on naming them."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.save()
            return
        changed = {name: form.cleaned_data[name] for name in _BY_SERVICE if name in form.changed_data}
        if changed:
            services.change_account(actor=request.user, user_id=obj.pk, **changed)  # type: ignore[arg-type]


admin.site.unregister(Group)


@admin.register(Group)
class StaffGroupAdmin(AuditedAdmin, GroupAdmin):
    """Groups of staff and what they may do."""

    noun = "group"
    names_people = False
