"""Admin pages of accounts and groups, and the page of the second factor.

Passwords are changed by Django's own forms, everything else by the services.
"""

from collections.abc import Iterable
from copy import copy
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import limits, queries, records, second_factor, services
from accounts.forms import AdminLoginForm, OwnPasswordForm, SecondFactorForm
from accounts.models import Role, User, normalize_email
from accounts.sessions import user_of
from healthcare import audit_context, clock
from healthcare.errors import Conflict, DomainError, InvalidValue
from healthcare.staff_admin.autocomplete import MAX_RESULTS, AutocompleteMixin
from healthcare.staff_admin.model_admin import AuditedAdmin, CappedPaginator, DomainErrorAdmin
from healthcare.staff_admin.site import hospital_site
from healthcare.web.rate_limits import TooManyAttempts, require_wait, with_wait

_SERVICE_FIELDS = ("name", "role", "is_active")
#: The field that names an account's record → the prefix of the URL names of the record's pages.
RECORD_URL_PREFIXES = {"doctor_id": "doctors_doctor", "patient_id": "patients_patient"}


class PasswordForm(AdminPasswordChangeForm):
    """Form that sets or removes another account's password. An account without a password logs in with a provider."""

    actor: User

    def save(self, commit: bool = True) -> User:
        if self.cleaned_data["set_usable_password"]:
            services.set_password(actor=self.actor, user=self.user, password=self.cleaned_data["password1"])
        else:
            services.remove_password(actor=self.actor, user=self.user)
        return self.user


class AccountCreationForm(UserCreationForm):
    """Form for a new account. A duplicate e-mail address marks the audit entry of the request as refused."""

    usable_password = None  # Django removes a form field that is None.

    class Meta:
        model = User
        fields = ("email", "name", "role")

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.has_error("email", "unique"):
            audit_context.mark_refused("duplicate")


@admin.register(User)
class AccountAdmin(AutocompleteMixin, DomainErrorAdmin, UserAdmin):
    """Accounts. Only admins change them, because a changed account may have any permission.

    A group's permissions allow other accounts to view only.
    """

    resource = "account"
    action_names = {"autocomplete": "listed"}
    add_form = AccountCreationForm
    form = UserChangeForm
    change_password_form = PasswordForm
    list_display = ("id", "role", "is_active", "created")
    list_filter = ("role", "is_active")
    search_fields = ("email",)
    search_help_text = _("The whole e-mail address.")
    ordering = ("id",)
    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    sortable_by = ()
    actions = ("disable_accounts", "enable_accounts", "remove_second_factor")
    filter_horizontal = ("groups", "user_permissions")
    readonly_fields = ("email", "record", "last_login_at", "created")
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "role", "is_active", "record")}),
        (_("Permissions of staff"), {"fields": ("groups", "user_permissions")}),
        (_("Dates"), {"fields": ("last_login_at", "created")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "role", "password1", "password2")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        return self.readonly_fields if obj else ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        email = search_term.strip().casefold()
        return (queryset.filter(email=email) if email else queryset), False

    def autocomplete_results(self, user: User, words: str) -> Iterable[tuple[str, str]]:
        """Return accounts whose e-mail address begins with the words, for forms that connect a record to an account."""
        audit_context.record_access("account.listed")
        if not words:
            return
        matches = queries.visible_to(user).filter(email__startswith=normalize_email(words))
        for account in matches.order_by("email")[:MAX_RESULTS]:
            yield str(account.pk), f"{account.email}, {account.get_role_display()}"

    @admin.display(description=_("created"), ordering="created_at")
    def created(self, user: User) -> str:
        return clock.display(user.created_at)

    @admin.display(description=_("last login"))
    def last_login_at(self, user: User) -> str:
        return clock.display(user.last_login)

    @admin.display(description=_("record"))
    def record(self, user: User) -> SafeString | Promise:
        """Return a link to the doctor's or patient's record of the account, or to the form for a new one."""
        name = {Role.DOCTOR: "doctor_id", Role.PATIENT: "patient_id"}.get(Role(user.role))
        if name is None:
            return _("none: accounts of staff and admins have no record")
        prefix, key = f"admin:{RECORD_URL_PREFIXES[name]}", records.record_ids_of(user)[name]
        if key is not None:
            return format_html('<a class="underline" href="{}">{}</a>', reverse(f"{prefix}_change", args=[key]), key)
        path = f"{reverse(f'{prefix}_add')}?user_id={user.pk}"
        return format_html('<a class="underline" href="{}">{}</a>', path, _("none yet: create the record"))

    @admin.action(description=_("Disable"), permissions=["change"])
    def disable_accounts(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._set_active(request, queryset, is_active=False)

    @admin.action(description=_("Enable"), permissions=["change"])
    def enable_accounts(self, request: HttpRequest, queryset: QuerySet[User]) -> HttpResponse | None:
        return self._set_active(request, queryset, is_active=True)

    def _set_active(self, request: HttpRequest, queryset: QuerySet[User], *, is_active: bool) -> HttpResponse | None:
        users = self.selected_rows(request, queryset)
        if not users:
            return None
        explanation = _("They can log in again.") if is_active else _("They are logged out and cannot log in again.")
        if "confirmed" not in request.POST:
            return self.selected_rows_page(
                request,
                users,
                title=_("Enable these accounts?") if is_active else _("Disable these accounts?"),
                explanation=explanation,
                headings=(_("number"), _("e-mail"), _("role"), _("active")),
                cells=_columns,
                button=_("Enable the accounts") if is_active else _("Disable the accounts"),
            )

        def set_active(user: User) -> User:
            return services.change_account(actor=user_of(request), user_id=user.pk, is_active=is_active)

        done = self.apply_to_rows(request, users, set_active)
        text = _("Enabled accounts: %(number)d.") if is_active else _("Disabled accounts: %(number)d.")
        self.message_user(request, text % {"number": len(done)}, messages.SUCCESS if done else messages.WARNING)
        return None

    @admin.action(description=_("Remove the second factor"), permissions=["change"])
    def remove_second_factor(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Remove the second factor of users who have lost their phone, so that they log in by password alone."""
        removed = 0
        for user in queryset:
            if user.pk == request.user.pk:
                # The page requires a code, so that a stranger at an unlocked screen cannot remove the factor.
                text = _("To remove your own second factor, open the page “Second factor” and enter a code.")
                self.message_user(request, text, messages.ERROR)
                continue
            try:
                second_factor.remove(actor=user_of(request), user=user)
            except Conflict:
                continue
            removed += 1
        self.message_user(request, _("The second factor of %(number)d accounts was removed.") % {"number": removed})

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow admins only, because a person who creates accounts or sets passwords can log in as anybody."""
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return request.user.is_superuser

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Change another account's password. Users change their own on a page that asks for the current one first."""
        if id == str(request.user.pk):
            return HttpResponseRedirect(reverse("admin:password_change"))

        class Form(PasswordForm):
            actor = user_of(request)

        # All requests share this ModelAdmin, so a copy of it has the form of this user.
        own = copy(self)
        own.change_password_form = Form
        return super(AccountAdmin, own).user_change_password(request, id, form_url)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Forbid deletion: accounts are disabled instead, because the audit log and other records name them."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            values = {name: form.cleaned_data[name] for name in ("email", "name", "role")}
            account = services.create_account(
                actor=user_of(request),
                password=form.cleaned_data["password1"],
                **values,
            )
            obj.__dict__.update(account.__dict__)
            return
        changed = {name: form.cleaned_data[name] for name in _SERVICE_FIELDS if name in form.changed_data}
        if changed:
            services.change_account(actor=user_of(request), user_id=obj.pk, **changed)


admin.site.login_form = AdminLoginForm
admin.site.password_change_form = OwnPasswordForm
admin.site.unregister(Group)


@admin.register(Group)
class StaffGroupAdmin(AuditedAdmin, GroupAdmin):
    """Groups of staff and their permissions. Only admins change them, because a group may have any permission."""

    resource = "group"
    names_people = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow admins only, because a person who writes groups can give themselves any permission."""
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser


def _columns(user: User) -> tuple[object, ...]:
    return user.pk, user.email, user.get_role_display(), _("yes") if user.is_active else _("no")


#: The session key of the encrypted secret, until the user enters a first code of the authenticator app.
_SESSION_KEY = "second_factor"


def second_factor_page(request: HttpRequest) -> HttpResponseBase:
    """Set up an authenticator app, or remove it with one of its codes."""
    user = User.objects.get(pk=request.user.pk or 0)
    is_set_up = second_factor.is_set_up(user)
    form = SecondFactorForm(request.POST or None)
    context: dict[str, Any] = {**admin.site.each_context(request), "title": _("Second factor"), "form": form}
    if request.method == "POST" and form.is_valid():
        code = form.cleaned_data["code"]
        audit_context.begin_action(f"account.second_factor_{'removed' if is_set_up else 'added'}", subject=user.pk)
        try:
            limits.password_change(user)
            if is_set_up:
                if not second_factor.accepts(user, code):
                    raise InvalidValue(
                        "Wrong code: enter the code that the app shows now.", code="wrong_code", field="code"
                    )
                second_factor.remove(actor=user, user=user)
                update_session_auth_hash(request, user)
                messages.success(request, _("The second factor was removed."))
                return HttpResponseRedirect(reverse("admin:second_factor"))
            if _SESSION_KEY not in request.session:
                raise InvalidValue("Scan the QR code below with the app first.", field="code")
            secret = second_factor.Adapter().decrypt(request.session[_SESSION_KEY])
            context["recovery_codes"] = second_factor.set_up(actor=user, secret=secret, code=code)
            # All other sessions of the account end.
            update_session_auth_hash(request, user)
            del request.session[_SESSION_KEY]
            return TemplateResponse(request, "admin/second_factor.html", context)
        except DomainError as error:
            if isinstance(error, TooManyAttempts):
                require_wait(request, error)
            audit_context.mark_refused(error.code)
            form.add_error("code" if error.field else None, error.detail)
    if not is_set_up:
        # The session keeps the secret until a code confirms it, because the page is shown again after a wrong code.
        if _SESSION_KEY not in request.session:
            request.session[_SESSION_KEY] = second_factor.Adapter().encrypt(second_factor.new_secret())
        context["secret"] = second_factor.Adapter().decrypt(request.session[_SESSION_KEY])
        context["picture"] = second_factor.qr_code(user, context["secret"])
    context["is_set_up"] = is_set_up
    return with_wait(request, TemplateResponse(request, "admin/second_factor.html", context))


def require_second_factor(request: HttpRequest) -> HttpResponse | None:
    """Redirect to the page that sets up a second factor, if ADMIN_TOTP_REQUIRED is on and the account has none."""
    page = request.resolver_match.url_name if request.resolver_match else ""
    if not settings.ADMIN_TOTP_REQUIRED or page in ("second_factor", "logout", "jsi18n"):
        return None
    if second_factor.is_set_up(user_of(request)):
        return None
    return HttpResponseRedirect(reverse("admin:second_factor"))


hospital_site().add_page(
    "second-factor/",
    never_cache(second_factor_page),
    "second_factor",
    actions=("admin.viewed", "account.second_factor_amended"),
)
hospital_site().add_interceptor(require_second_factor)
