"""Who may call what about accounts; brief section 2."""

from accounts.models import Role
from healthcare.api.permissions import ANY_ACCOUNT, ANYONE, RoleTable

AUTH: RoleTable = {
    "login": ANYONE,
    # The refresh token in the body is the credential, so that an expired access token does not stand in the way.
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
#: Who logs in by a provider has no account yet that could be asked.
PROVIDERS: RoleTable = {
    "begin": ANYONE,
    "callback": ANYONE,
}
