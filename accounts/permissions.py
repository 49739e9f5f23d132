"""Role tables of accounts (docs/api.md, "Who may call what")."""

from accounts.models import Role
from healthcare.api.permissions import ANY_ACCOUNT, ANYONE, RoleTable

AUTH: RoleTable = {
    "login": ANYONE,
    # The refresh token in the body is the credential: an expired access token must not make refresh and logout fail.
    "refresh": ANYONE,
    "logout": ANYONE,
    "me": ANY_ACCOUNT,
    "password": ANY_ACCOUNT,
}
ACCOUNTS: RoleTable = {
    "list": {Role.ADMIN},
    "create": {Role.ADMIN},
    "retrieve": {Role.ADMIN},
    "partial_update": {Role.ADMIN},
}
#: Logins with a provider, which begin without an account.
PROVIDERS: RoleTable = {
    "begin": ANYONE,
    "callback": ANYONE,
}
