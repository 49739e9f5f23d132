"""The one settings file: development, tests and production differ by environment, read here and nowhere else.

Values come from the environment, else from `.env` beside manage.py (or the file that ENV_FILE names), else from the
defaults below; `.env.example` lists them all. Nothing is needed to try the system: without `MONGODB_URI` and
`DATABASE_URL` the embedded servers of `manage.py devstack` are used, and the secrets that are missing then are made
once and kept beside their data.
"""

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from healthcare import devstack

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(env.str("ENV_FILE", default=str(BASE_DIR / ".env")))

# --- Where the data lives -------------------------------------------------------------------------------------------

DEVSTACK_DIR = Path(env.str("DEVSTACK_DIR", default=str(BASE_DIR / ".devstack"))).absolute()
MONGODB_URI = env.str("MONGODB_URI", default="")
DATABASE_URL = env.str("DATABASE_URL", default="")
EMBEDDED_MONGODB = not MONGODB_URI
EMBEDDED_POSTGRESQL = not DATABASE_URL
if EMBEDDED_MONGODB or EMBEDDED_POSTGRESQL:
    _addresses = devstack.addresses(DEVSTACK_DIR)
    MONGODB_URI = MONGODB_URI or _addresses["MONGODB_URI"]
    DATABASE_URL = DATABASE_URL or _addresses["DATABASE_URL"]

# The role that may drop archived months of the audit trail (healthcare/sql/database_roles.sql); else DATABASE_URL.
ARCHIVE_DATABASE_URL = env.str("ARCHIVE_DATABASE_URL", default="")

_sql: dict[str, Any] = environ.Env.db_url_config(DATABASE_URL)
if _sql.get("ENGINE") not in ("django.db.backends.postgresql", "django.db.backends.sqlite3"):
    message = "DATABASE_URL must be postgres://… (or sqlite:///path for a trial); other databases are not supported."
    raise ImproperlyConfigured(message)
if _sql["ENGINE"] == "django.db.backends.sqlite3":
    # Writers queue for the one lock instead of failing when a reader turns into a writer (Django ticket 29280).
    _sql.setdefault("OPTIONS", {}).update(transaction_mode="IMMEDIATE", timeout=20)
else:
    _sql.setdefault("OPTIONS", {}).setdefault("connect_timeout", 3)

DATABASES = {
    "default": {
        **_sql,
        # A new connection costs 3 ms, a request reads the account at least once: keep it.
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    },
    "clinical": {
        "ENGINE": "healthcare.mongodb",
        "HOST": MONGODB_URI,
        "NAME": env.str("MONGODB_DB", default="healthcare"),
        # A frozen primary cost 28 s of waiting with the driver's defaults and 3 to 6 s with these.
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

# --- Secrets and the outside ----------------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
# `make run` and `make serve` set it: secrets that are missing are made once, on this machine, beside the embedded data.
LOCAL_SECRETS = env.bool("LOCAL_SECRETS", default=False)


def _secret(name: str) -> str:
    """The secret from the environment; one made once beside the embedded data where nothing but a trial needs it."""
    value = env.str(name, default="")
    if value:
        return value
    if DEBUG or EMBEDDED_MONGODB or EMBEDDED_POSTGRESQL or LOCAL_SECRETS:
        return devstack.local_secret(DEVSTACK_DIR, name)
    raise ImproperlyConfigured(f"{name} is not set. Production needs its own: 50 random characters or more.")


SECRET_KEY = _secret("SECRET_KEY")
JWT_SECRET_KEY = _secret("JWT_SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
HTTPS_ONLY = env.bool("HTTPS_ONLY", default=not DEBUG)
try:
    TRUSTED_PROXIES = [ip_network(each) for each in env.list("TRUSTED_PROXIES", default=[])]
except ValueError as error:
    message = f"TRUSTED_PROXIES names addresses or networks, such as 10.0.0.5,10.1.0.0/16: {error}."
    raise ImproperlyConfigured(message) from error
SECURE_SSL_REDIRECT = HTTPS_ONLY
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# A clinical record is a few kilobytes; what is larger is a mistake or an attack.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

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
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "healthcare.apps.HospitalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "healthcare.middleware.AuditMiddleware",
    "healthcare.middleware.TrailingSlashMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
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

STATIC_URL = "static/"
# The admin, Swagger UI and Redoc are served from their packages, so that `collectstatic` is no step to forget.
WHITENOISE_USE_FINDERS = True

# --- Accounts -------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
# The plain bcrypt hasher ignores what lies behind byte 72; this one hashes with SHA-256 first.
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
LOGIN_URL = "rest_framework:login"
LOGIN_REDIRECT_URL = "/api"
LOGOUT_REDIRECT_URL = "/api"

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

# --- API ------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.TokenAuthentication",
        "accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["healthcare.permissions.RoleTablePermission"],
    "DEFAULT_PARSER_CLASSES": ["healthcare.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": [
        "healthcare.renderers.JSONRenderer",
        "healthcare.renderers.BrowsableRenderer",
    ],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "healthcare.renderers.ContentNegotiation",
    "DEFAULT_SCHEMA_CLASS": "healthcare.openapi.RoomSchema",
    "EXCEPTION_HANDLER": "healthcare.exceptions.problem_response",
    # OPTIONS would describe forms to whoever asks; the OpenAPI document does that.
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
