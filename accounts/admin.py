"""Accounts in the staff's admin. Passwords by Django's own forms, everything else by the services."""

from collections.abc import Iterable
from copy import copy
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import limits, queries, records, second_factor, services
from accounts.forms import AdminLoginForm, OwnPasswordForm, SecondFactorForm
from accounts.models import Role, User, normalize_email
from healthcare import audit_context, clock
from healthcare.errors import Conflict, DomainError, InvalidValue
from healthcare.staff_admin.autocomplete import MAX_RESULTS, AutocompleteMixin
from healthcare.staff_admin.model_admin import AuditedAdmin, CappedPaginator, DomainErrorAdmin
from healthcare.web.rate_limits import TooManyAttempts, require_wait, with_wait

_BY_SERVICE = ("name", "role", "is_active")
#: The record that an account has in a room → the pages of that room.
RECORD_PAGES = {"doctor_id": "doctors_doctor", "patient_id": "patients_patient"}


class PasswordForm(AdminPasswordChangeForm):
    """Somebody else's new password, or none for who logs in by a provider; by the service."""

    actor: User

    def save(self, commit: bool = True) -> User:
        if self.cleaned_data["set_usable_password"]:
            services.set_password(actor=self.actor, user=self.user, password=self.cleaned_data["password1"])
        else:
            services.remove_password(actor=self.actor, user=self.user)
        return self.user


class AccountCreationForm(UserCreationForm):
    """Two passwords and what an account needs; e-mails are compared in one spelling."""

    usable_password = None  # Django's way to remove a form field

    class Meta:
        model = User
        fields = ("email", "name", "role")

    def _post_clean(self) -> None:
        super()._post_clean()
        if self.has_error("email", "unique"):
            audit_context.mark_refused("duplicate")


@admin.register(User)
class AccountAdmin(AutocompleteMixin, DomainErrorAdmin, UserAdmin):
    """Accounts, for admins: who changes them can take any power. A permission of a group lets look, no more."""

    resource = "account"
    action_names = {"find": "listed"}
    add_form = AccountCreationForm
    form = UserChangeForm
    change_password_form = PasswordForm
    list_display = ("id", "role", "is_active", "made")
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
    readonly_fields = ("email", "record", "seen", "made")
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "role", "is_active", "record")}),
        (_("Permissions of staff"), {"fields": ("groups", "user_permissions")}),
        (_("Dates"), {"fields": ("seen", "made")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "role", "password1", "password2")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        email = search_term.strip().casefold()
        return (queryset.filter(email=email) if email else queryset), False

    def find(self, user: Any, words: str) -> Iterable[tuple[str, str]]:
        """By the beginning of the e-mail, for the forms that tie a record to an account."""
        audit_context.record_access("account.listed")
        if not words:
            return
        found = queries.visible_to(user).filter(email__startswith=normalize_email(words))
        for account in found.order_by("email")[:MAX_RESULTS]:
            yield str(account.pk), f"{account.email}, {account.get_role_display()}"

    @admin.display(description=_("made"), ordering="created_at")
    def made(self, user: User) -> str:
        return clock.display(user.created_at)

    @admin.display(description=_("last login"))
    def seen(self, user: User) -> str:
        return clock.display(user.last_login)

    @admin.display(description=_("record"))
    def record(self, user: User) -> Any:
        """The doctor's or patient's record of the account, or the way to make one."""
        name = {Role.DOCTOR: "doctor_id", Role.PATIENT: "patient_id"}.get(Role(user.role))
        if name is None:
            return _("none: accounts of staff and admins need none")
        place, key = f"admin:{RECORD_PAGES[name]}", records.record_ids_of(user)[name]
        if key is not None:
            return format_html('<a class="underline" href="{}">{}</a>', reverse(f"{place}_change", args=[key]), key)
        path = f"{reverse(f'{place}_add')}?user_id={user.pk}"
        return format_html('<a class="underline" href="{}">{}</a>', path, _("none yet: make the record"))

    @admin.action(description=_("Disable"), permissions=["change"])
    def disable_accounts(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self._switch(request, queryset, is_active=False)

    @admin.action(description=_("Enable"), permissions=["change"])
    def enable_accounts(self, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        return self._switch(request, queryset, is_active=True)

    def _switch(self, request: HttpRequest, queryset: Any, *, is_active: bool) -> HttpResponse | None:
        users = self.chosen(request, queryset)
        if not users:
            return None
        meaning = _("They can log in again.") if is_active else _("They cannot log in, and are logged out at once.")
        if "confirmed" not in request.POST:
            return self.show_chosen(
                request,
                users,
                title=_("Enable these accounts?") if is_active else _("Disable these accounts?"),
                explanation=meaning,
                headings=(_("number"), _("e-mail"), _("role"), _("active")),
                cells=_cells,
                button=_("Enable the accounts") if is_active else _("Disable the accounts"),
            )

        def switch(user: User) -> User:
            return services.change_account(actor=request.user, user_id=user.pk, is_active=is_active)  # type: ignore[arg-type]

        done = self.apply(request, users, switch)
        said = _("Enabled accounts: %(number)d.") if is_active else _("Disabled accounts: %(number)d.")
        self.message_user(request, said % {"number": len(done)}, messages.SUCCESS if done else messages.WARNING)
        return None

    @admin.action(description=_("Remove the second factor"), permissions=["change"])
    def remove_second_factor(self, request: HttpRequest, queryset: Any) -> None:
        """For colleagues who have lost the phone: they log in with the password alone until they set up another."""
        removed = 0
        for user in queryset:
            if user.pk == request.user.pk:
                # Whoever finds the screen unlocked has no code.
                self.message_user(
                    request, _("Your own goes with one of its codes, at “Second factor”."), messages.ERROR
                )
                continue
            try:
                second_factor.remove(actor=request.user, user=user)  # type: ignore[arg-type]
            except Conflict:
                continue
            removed += 1
        self.message_user(request, _("The second factor of %(number)d accounts was removed.") % {"number": removed})

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Admins alone, whatever a group says: who makes accounts or sets their passwords can become anybody."""
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return request.user.is_superuser

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        """Somebody else's: one's own asks for the present one first."""
        if id == str(request.user.pk):
            return HttpResponseRedirect(reverse("admin:password_change"))

        class Form(PasswordForm):
            actor = request.user  # type: ignore[assignment]

        # One admin serves all requests: the one with a form that knows who acts is a copy.
        mine = copy(self)
        mine.change_password_form = Form
        return super(AccountAdmin, mine).user_change_password(request, id, form_url)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Accounts are disabled, not deleted: bills, the log and the audit trail go on naming them."""
        return False

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            values = {name: form.cleaned_data[name] for name in ("email", "name", "role")}
            made = services.create_account(
                actor=request.user,  # type: ignore[arg-type]
                password=form.cleaned_data["password1"],
                **values,
            )
            obj.__dict__.update(made.__dict__)
            return
        changed = {name: form.cleaned_data[name] for name in _BY_SERVICE if name in form.changed_data}
        if changed:
            services.change_account(actor=request.user, user_id=obj.pk, **changed)  # type: ignore[arg-type]


admin.site.login_form = AdminLoginForm
admin.site.password_change_form = OwnPasswordForm
admin.site.unregister(Group)


@admin.register(Group)
class StaffGroupAdmin(AuditedAdmin, GroupAdmin):
    """Groups of staff and what they may do. Admins change them: whoever else did could take any power."""

    resource = "group"
    names_people = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Admins alone, whatever a group says: who writes groups can give themself everything."""
        return request.user.is_superuser

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return request.user.is_superuser


def _cells(user: User) -> tuple[Any, ...]:
    return user.pk, user.email, user.get_role_display(), _("yes") if user.is_active else _("no")


#: Where the secret waits, encrypted, until the app has shown its first code.
_PENDING = "second_factor"


def second_factor_page(request: HttpRequest) -> HttpResponseBase:
    """Set up an authenticator app, or take it away again with one of its codes."""
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
                    raise InvalidValue("This is not the code that the app shows now.", code="wrong_code", field="code")
                second_factor.remove(actor=user, user=user)
                update_session_auth_hash(request, user)
                messages.success(request, _("The second factor was removed."))
                return HttpResponseRedirect(reverse("admin:second_factor"))
            if _PENDING not in request.session:
                raise InvalidValue("Read the secret below with the app first.", field="code")
            secret = second_factor.Adapter().decrypt(request.session[_PENDING])
            context["recovery_codes"] = second_factor.set_up(actor=user, secret=secret, code=code)
            # The browser that did it goes on, and no other.
            update_session_auth_hash(request, user)
            del request.session[_PENDING]
            return TemplateResponse(request, "admin/second_factor.html", context)
        except DomainError as refusal:
            if isinstance(refusal, TooManyAttempts):
                require_wait(request, refusal)
            audit_context.mark_refused(refusal.code)
            form.add_error("code" if refusal.field else None, refusal.detail)
    if not is_set_up:
        # The same secret until it is taken: the page may be sent twice, and the app has read it once.
        if _PENDING not in request.session:
            request.session[_PENDING] = second_factor.Adapter().encrypt(second_factor.new_secret())
        context["secret"] = second_factor.Adapter().decrypt(request.session[_PENDING])
        context["picture"] = second_factor.qr_code(user, context["secret"])
    context["is_set_up"] = is_set_up
    return with_wait(request, TemplateResponse(request, "admin/second_factor.html", context))


def second_factor_first(request: HttpRequest) -> HttpResponse | None:
    """Where ADMIN_TOTP_REQUIRED says so, the page to set one up comes before all others."""
    page = request.resolver_match.url_name if request.resolver_match else ""
    if not settings.ADMIN_TOTP_REQUIRED or page in ("second_factor", "logout", "jsi18n"):
        return None
    if second_factor.is_set_up(request.user):  # type: ignore[arg-type]
        return None
    return HttpResponseRedirect(reverse("admin:second_factor"))


admin.site.add_page(  # type: ignore[attr-defined]
    "second-factor/",
    never_cache(second_factor_page),
    "second_factor",
    actions=("admin.viewed", "account.second_factor_amended"),
)
admin.site.add_gate(second_factor_first)  # type: ignore[attr-defined]
