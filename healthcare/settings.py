"""The settings of development, tests and production, which differ by environment variables only.

A value comes from the environment, else from `.env` beside manage.py (or the file that ENV_FILE names), else from the
default below; `.env.example` lists all variables. None is needed to try the system: without `MONGODB_URI` and
`DATABASE_URL` it uses the embedded servers of `manage.py devstack`, and creates missing secrets beside their data.
Every variable can be read from a file instead: SECRET_KEY_FILE=/run/secrets/secret_key.
"""

import base64
import hashlib
import re
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _
from environ.fileaware_mapping import FileAwareMapping

import devstack

BASE_DIR = Path(__file__).resolve().parent.parent


class _Values(FileAwareMapping):
    """The environment, in which NAME_FILE may name a file with the value of NAME, as containers receive secrets."""

    def __getitem__(self, key: str) -> str:
        try:
            value: str = super().__getitem__(key)
        except OSError as error:
            raise ImproperlyConfigured(f"{key}_FILE names {error.filename}: {error.strerror}.") from error
        # Editors and `echo` end a file with a line break.
        return value.rstrip("\r\n") if f"{key}_FILE" in self.env else value


class _Env(environ.FileAwareEnv):
    ENVIRON = _Values()


env = _Env()
environ.Env.read_env(env.str("ENV_FILE", default=str(BASE_DIR / ".env")))

# --- Databases ------------------------------------------------------------------------------------------------------

DEVSTACK_DIR = Path(env.str("DEVSTACK_DIR", default=str(BASE_DIR / ".devstack"))).absolute()
MONGODB_URI = env.str("MONGODB_URI", default="")
DATABASE_URL = env.str("DATABASE_URL", default="")
EMBEDDED_MONGODB = not MONGODB_URI
EMBEDDED_POSTGRESQL = not DATABASE_URL
if EMBEDDED_MONGODB or EMBEDDED_POSTGRESQL:
    _addresses = devstack.addresses(DEVSTACK_DIR)
    MONGODB_URI = MONGODB_URI or _addresses["MONGODB_URI"]
    DATABASE_URL = DATABASE_URL or _addresses["DATABASE_URL"]

# The role that may drop archived months of the audit log (healthcare/sql/database_roles.sql). Default: DATABASE_URL.
ARCHIVE_DATABASE_URL = env.str("ARCHIVE_DATABASE_URL", default="")

_sql: dict[str, Any] = environ.Env.db_url_config(DATABASE_URL)
if _sql.get("ENGINE") not in ("django.db.backends.postgresql", "django.db.backends.sqlite3"):
    message = "DATABASE_URL must be postgres://… (or sqlite:///path for a trial); other databases are not supported."
    raise ImproperlyConfigured(message)
if _sql["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE makes writers wait for the lock; a reader that becomes a writer would fail (Django ticket 29280).
    _sql.setdefault("OPTIONS", {}).update(transaction_mode="IMMEDIATE", timeout=20)
else:
    _sql["ENGINE"] = "healthcare.postgresql"
    # psycopg ignores `prepare=True` if there is no threshold (healthcare.postgresql.prepared_statements).
    _sql["OPTIONS"] = {"connect_timeout": 3, "prepare_threshold": 5, **_sql.get("OPTIONS", {})}

DATABASES = {
    "default": {
        **_sql,
        # Opening a connection takes 3 ms, and each request needs one to read the account.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    },
    "clinical": {
        "ENGINE": "healthcare.mongodb",
        "HOST": MONGODB_URI,
        "NAME": env.str("MONGODB_DB", default="healthcare"),
        # While a primary was frozen, writes waited 28 s with the driver's defaults and 3 to 6 s with these values.
        "OPTIONS": {
            "w": "majority",
            "wTimeoutMS": 5000,
            "readConcernLevel": "majority",
            "retryWrites": True,
            "retryReads": True,
            "serverSelectionTimeoutMS": 5000,
            "connectTimeoutMS": 2000,
            "socketTimeoutMS": 30000,
            "heartbeatFrequencyMS": 1000,
            "waitQueueTimeoutMS": 2000,
            "maxPoolSize": 20,
        },
    },
}
DATABASE_ROUTERS = ["healthcare.routers.DatabaseRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Secrets, hosts and HTTP headers --------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
# `make run` and `make serve` set LOCAL_SECRETS: missing secrets are created once and kept beside the embedded data.
LOCAL_SECRETS = env.bool("LOCAL_SECRETS", default=False)


#: Placeholders from examples, which must not become a production system's secret.
_PLACEHOLDERS = (
    "insecure", "changeme", "change-me", "change_me", "change this", "change-this", "replace-me", "replace_me",
    "placeholder", "your-secret", "your_secret", "your-key", "your_key",
)  # fmt: skip


def _secret(name: str, min_bytes: int) -> str:
    """Return the secret from the environment; for a trial, one that is created once beside the embedded data."""
    value = env.str(name, default="")
    if value:
        if not DEBUG and len(value.encode()) < min_bytes:
            raise ImproperlyConfigured(f"{name} is shorter than {min_bytes} bytes: take 50 random characters or more.")
        if not DEBUG and any(word in value.lower() for word in _PLACEHOLDERS):
            raise ImproperlyConfigured(f"{name} is a placeholder from an example: take 50 random characters or more.")
        return value
    if DEBUG or EMBEDDED_MONGODB or EMBEDDED_POSTGRESQL or LOCAL_SECRETS:
        return devstack.local_secret(DEVSTACK_DIR, name)
    raise ImproperlyConfigured(f"{name} is not set. Production needs its own: 50 random characters or more.")


SECRET_KEY = _secret("SECRET_KEY", 50)
# HMAC with SHA-256 needs a key at least as long as its digest (RFC 7518, section 3.2).
JWT_SECRET_KEY = _secret("JWT_SECRET_KEY", 32)
if not DEBUG and JWT_SECRET_KEY == SECRET_KEY:
    raise ImproperlyConfigured("JWT_SECRET_KEY is SECRET_KEY: tokens need a key of their own.")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
HTTPS_ONLY = env.bool("HTTPS_ONLY", default=not DEBUG)
_proxies = env.list("TRUSTED_PROXIES", default=[])
# "unix" trusts every client of the server's unix socket; the permissions of its folder decide who can connect.
TRUSTED_PROXY_SOCKET = "unix" in _proxies
try:
    TRUSTED_PROXIES = [ip_network(each) for each in _proxies if each != "unix"]
except ValueError as error:
    message = f"TRUSTED_PROXIES names addresses, networks or unix, such as 10.0.0.5,10.1.0.0/16: {error}."
    raise ImproperlyConfigured(message) from error
# The header is removed from requests of anybody but a trusted proxy (healthcare.client_address).
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _proxies else None
SECURE_SSL_REDIRECT = HTTPS_ONLY
# Health endpoints are requested over plain HTTP by the machine itself or a cluster's nodes, not through the proxy.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
# Lax instead of Strict, because the redirect from Google or GitHub needs the session with the OAuth state.
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Strict"
CSRF_FAILURE_VIEW = "healthcare.api.views.csrf_failure"
SESSION_COOKIE_AGE = env.int("SESSION_SECONDS", default=12 * 3600)
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_IDLE_SECONDS = env.int("SESSION_IDLE_SECONDS", default=30 * 60)
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
# Pages load files of this server only, and no inline script or style. Swagger UI and Redoc (healthcare.urls) and the
# admin's theme (healthcare.staff_admin.site) extend the policy for their own pages.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
    },
}
# CORS is off unless CORS_ALLOWED_ORIGINS names origins.
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_URLS_REGEX = r"^/api(/|$)"
CORS_ALLOW_METHODS = ["GET", "POST", "PATCH", "DELETE"]
CORS_ALLOW_HEADERS = ["authorization", "content-type"]
CORS_EXPOSE_HEADERS = ["Retry-After", "X-Request-ID"]
# A clinical record has a few kilobytes.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
# The admin's form of a doctor has up to 500 exceptions and 50 weekly hours with four fields each.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_500
# The limit of a whole request body, uploaded files included.
MAX_BODY_BYTES = 10 * 1_048_576
# Uploaded files hold patients' data, so they stay in memory and are never written to a temporary folder.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
FILE_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

# --- Observability --------------------------------------------------------------------------------------------------

# /readyz answers 503 when an outbox event has waited longer than this. Off by default, because a stopped event relay
# would otherwise take all servers out of service although they can still answer.
READY_EVENT_LAG_SECONDS = env.int("READY_EVENT_LAG_SECONDS", default=0)

# The bearer token of /metrics. Without one, only a trial serves /metrics, on loopback.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
if METRICS_TOKEN and not DEBUG and len(METRICS_TOKEN) < 32:
    raise ImproperlyConfigured("METRICS_TOKEN is shorter than 32 characters: take 50 random ones.")

LOG_FORMAT = env.str("LOG_FORMAT", default="text" if DEBUG else "json")
if LOG_FORMAT not in ("json", "text"):
    raise ImproperlyConfigured("LOG_FORMAT must be json or text.")
# Write a log line with route, status and duration for each request. The audit log names the account; this log does not.
LOG_REQUESTS = env.bool("LOG_REQUESTS", default=False)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {"()": "healthcare.observability.logs.JsonFormatter"},
        "text": {"()": "healthcare.observability.logs.TextFormatter", "is_verbose": DEBUG},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        # No handlers here: those of Django mail whole requests.
        "django": {"handlers": [], "level": "INFO"},
        # Responses of 400 to 499 are counted (healthcare.observability.metrics), and denied access is in the audit log.
        "django.request": {"level": "INFO" if DEBUG else "ERROR"},
        # Such errors are not logged, because scanners send wrong host names all day.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "healthcare": {"level": "INFO"},
    },
}

# --- Encryption of patients' data (healthcare.mongodb.encryption) ---------------------------------------------------


def _master_key(name: str) -> tuple[str, bytes] | None:
    """Return a local master key of 96 bytes and its provider name, which contains the key's digest."""
    text = env.str(name, default="")
    if not text:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 96 or len(set(key)) < 32:
        make = 'python3 -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(96)).decode())"'
        raise ImproperlyConfigured(f"{name} is 96 random bytes in base64: {make}")
    return f"local:key_{hashlib.sha256(key).hexdigest()[:12]}", key


_current, _previous = _master_key("PHI_MASTER_KEY"), _master_key("PHI_MASTER_KEY_PREVIOUS")
if _previous and not _current:
    raise ImproperlyConfigured("PHI_MASTER_KEY_PREVIOUS is set without PHI_MASTER_KEY, which takes its place.")
# Arguments of the driver's ClientEncryption; None stores the fields unencrypted. For another provider ("aws", "azure",
# "gcp", "kmip") put its credentials and its name of the master key here.
PHI_ENCRYPTION: dict[str, Any] | None = (
    {
        "kms_providers": {name: {"key": key} for name, key in filter(None, (_previous, _current))},
        "provider": _current[0],
        "master_key": None,
    }
    if _current
    else None
)

# --- Applications ---------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "healthcare",
    "accounts",
    "patients",
    "doctors",
    "appointments",
    "prescriptions",
    "billing",
    "audit",
    "reports",
    # Commands of operators and developers, and the admin page of the outbox.
    "operations",
    "datasets",
    "benchmarks",
    *(["corsheaders"] if CORS_ALLOWED_ORIGINS else []),
    "csp",
    "django_ratelimit",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    # The theme must precede django.contrib.admin, because it overrides its templates and styles.
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.import_export",
    "import_export",
    "healthcare.apps.HospitalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # allauth implements OAuth2 with Google and GitHub, and stores second factors; its own pages are not routed.
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.google",
    "allauth.socialaccount.providers.github",
    "allauth.mfa",
]
# Requests under /api with a token run API_MIDDLEWARE, all others run MIDDLEWARE (healthcare.web.handlers). Add a new
# middleware to MIDDLEWARE and to one of the two other lists. One that is in neither fails `manage.py check`, and runs
# for every request until then.
MIDDLEWARE = [
    "healthcare.observability.metrics.MetricsMiddleware",
    "healthcare.client_address.ForwardedHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ALLOWED_ORIGINS else []),
    "healthcare.web.middleware.ContentSecurityPolicyMiddleware",
    "healthcare.web.middleware.BodySizeMiddleware",
    "healthcare.web.middleware.AuditMiddleware",
    "healthcare.web.middleware.OutageMiddleware",
    "healthcare.web.middleware.ReaderZoneMiddleware",
    "healthcare.web.middleware.TrailingSlashMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "healthcare.web.middleware.HostMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.sessions.IdleSessionMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
API_MIDDLEWARE = [
    "healthcare.observability.metrics.MetricsMiddleware",
    "healthcare.client_address.ForwardedHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ALLOWED_ORIGINS else []),
    "healthcare.web.middleware.ContentSecurityPolicyMiddleware",
    "healthcare.web.middleware.BodySizeMiddleware",
    "healthcare.web.middleware.AuditMiddleware",
    "healthcare.web.middleware.OutageMiddleware",
    "healthcare.web.middleware.TrailingSlashMiddleware",
    "healthcare.web.middleware.HostMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
# Static files, the browser's time zone, sessions and what depends on them: requests with a token need none of these.
BROWSER_ONLY_MIDDLEWARE = {
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "healthcare.web.middleware.ReaderZoneMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.sessions.IdleSessionMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
}
ROOT_URLCONF = "healthcare.urls"
WSGI_APPLICATION = "healthcare.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

# django-unfold, the theme of `healthcare.staff_admin`.
UNFOLD = {
    "SITE_TITLE": "Smart Healthcare",
    "SITE_HEADER": "Smart Healthcare",
    "SITE_SUBHEADER": _("Hospital administration"),
    "SITE_URL": "/api",
    "SITE_SYMBOL": "health_and_safety",
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "COLORS": {
        # The contrast of this teal is at least 4.5:1 on white from shade 600, and on the dark background up to 400.
        "primary": {
            "50": "#effaf9", "100": "#d2f1ee", "200": "#a8e3de", "300": "#72cdc8", "400": "#41afab", "500": "#25928f",
            "600": "#0f7472", "700": "#115e5d", "800": "#124b4b", "900": "#133f3f", "950": "#042525",
        },
        # The theme's own green has a contrast of 3.2:1 under white letters.
        "green": {"600": "#15803d"},
    },
    "ACCOUNT": {
        "navigation": [
            {"title": _("Second factor"), "link": reverse_lazy("admin:second_factor")},
            {"title": _("Change password"), "link": reverse_lazy("admin:password_change")},
        ],
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False},
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("healthcare/favicon.svg")},
    ],
    "STYLES": [lambda request: static("healthcare/admin.css")],
    "SCRIPTS": [
        lambda request: static("healthcare/time-zone.js"),
        lambda request: static("healthcare/keyboard-access.js"),
    ],
}  # fmt: skip

STATIC_URL = "static/"
# Static files are served from their packages, so that nobody can forget to run `collectstatic`.
WHITENOISE_USE_FINDERS = True

# --- Accounts -------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
# Django's plain bcrypt hasher ignores a password's bytes after the 72nd; this one hashes with SHA-256 first.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.BCryptSHA256PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "accounts.passwords.LengthValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
MFA_ADAPTER = "accounts.second_factor.Adapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Smart Healthcare"
# Require staff, doctors and admins to set up a second factor before the admin shows them any other page.
ADMIN_TOTP_REQUIRED = env.bool("ADMIN_TOTP_REQUIRED", default=False)
LOGIN_URL = "rest_framework:login"
LOGIN_REDIRECT_URL = "/api"
LOGOUT_REDIRECT_URL = "/api"

# Rate limits by account or by address (accounts.limits); all processes share the counters.
_PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _rate(name: str, default: str) -> str:
    """Return a rate from the environment: a number of attempts and a period, such as 5/m, 100/h or 20/10s."""
    value = env.str(name, default=default)
    if not re.fullmatch(r"[1-9][0-9]{0,8}/([1-9][0-9]{0,4})?[smhd]", value):
        raise ImproperlyConfigured(f"{name} is a number of attempts and a time, such as 5/m, 100/h or 20/10s.")
    return value


def _attempts_per_second(rate: str) -> float:
    count, time = rate.split("/")
    return int(count) / (int(time[:-1] or 1) * _PERIODS[time[-1]])


LOGIN_RATE = _rate("LOGIN_RATE", "5/m")
PASSWORD_RATE = _rate("PASSWORD_RATE", LOGIN_RATE)
# Raising LOGIN_RATE, for a load test or for a hospital behind one address, raises these defaults as well.
REGISTER_RATE = _rate("REGISTER_RATE", max("60/m", LOGIN_RATE, key=_attempts_per_second))
REFRESH_RATE = _rate("REFRESH_RATE", max("300/m", LOGIN_RATE, key=_attempts_per_second))
REDIS_URL = env.str("REDIS_URL", default="")
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "healthcare",
         "OPTIONS": {"socket_timeout": 3, "socket_connect_timeout": 3}}
        if REDIS_URL
        else {"BACKEND": "healthcare.postgresql.cache.PostgreSQLCache"}
    ),
}  # fmt: skip
RATELIMIT_USE_CACHE = "default"
# W001 admits memcached and django-redis only. `PostgreSQLCache` and Django's Redis backend are shared between processes
# too, and their `add` and `incr` are atomic (tests/accounts/test_limits.py).
SILENCED_SYSTEM_CHECKS = ["django_ratelimit.W001"]

ACCESS_TOKEN_LIFETIME = timedelta(seconds=env.int("JWT_ACCESS_TOKEN_EXPIRES", default=900))
REFRESH_TOKEN_LIFETIME = timedelta(days=14)
SIMPLE_JWT = {
    "ALGORITHM": "HS256",
    "SIGNING_KEY": JWT_SECRET_KEY,
    "ISSUER": "smart-healthcare",
    "AUDIENCE": "smart-healthcare-api",
    "ACCESS_TOKEN_LIFETIME": ACCESS_TOKEN_LIFETIME,
    "REFRESH_TOKEN_LIFETIME": REFRESH_TOKEN_LIFETIME,
}

# --- Login with Google and GitHub (accounts.oauth) ------------------------------------------------------------------

ACCOUNT_ADAPTER = "accounts.oauth.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
# accounts.limits has the rate limits of all logins.
ACCOUNT_RATE_LIMITS = False
SOCIALACCOUNT_ADAPTER = "accounts.oauth.SocialAdapter"
# A matching e-mail address must never open an existing account: the provider's user need not own the account here.
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_STORE_TOKENS = False


def _provider(name: str, **options: Any) -> dict[str, Any]:
    client_id = env.str(f"OAUTH_{name}_CLIENT_ID", default="")
    secret = env.str(f"OAUTH_{name}_CLIENT_SECRET", default="")
    if bool(client_id) != bool(secret):
        raise ImproperlyConfigured(f"OAUTH_{name}_CLIENT_ID and OAUTH_{name}_CLIENT_SECRET are set together or not.")
    apps = [{"client_id": client_id, "secret": secret}] if client_id else []
    return {"APPS": apps, "OAUTH_PKCE_ENABLED": True, **options}


SOCIALACCOUNT_PROVIDERS = {
    "google": _provider("GOOGLE", SCOPE=["openid", "profile", "email"]),
    "github": _provider("GITHUB", SCOPE=["read:user", "user:email"]),
}

# --- API ------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["healthcare.api.permissions.RoleTablePermission"],
    "DEFAULT_PARSER_CLASSES": ["healthcare.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": [
        "healthcare.api.renderers.JSONRenderer",
        "healthcare.api.renderers.BrowsableRenderer",
    ],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "healthcare.api.renderers.ContentNegotiation",
    "DEFAULT_SCHEMA_CLASS": "healthcare.api.openapi.ResourceSchema",
    "EXCEPTION_HANDLER": "healthcare.api.problem_details.problem_response",
    # OPTIONS would describe request bodies to anybody; the OpenAPI document does that.
    "DEFAULT_METADATA_CLASS": None,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Smart Healthcare",
    "DESCRIPTION": "Patients, doctors, appointments, prescriptions and bills of a hospital network.",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "Role": "accounts.models.Role",
        "Sex": "patients.models.Sex",
        "AppointmentStatus": "appointments.models.Status",
        "NewAppointmentStatus": [("scheduled", "scheduled")],
        "BillStatus": "billing.models.Status",
    },
}
