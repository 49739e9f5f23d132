"""System check of the middleware lists (docs/decisions/0018-one-request-path.md)."""

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from healthcare.web.handlers import unclassified_middleware


@register(Tags.security)
def every_middleware_is_classified(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Fail for a middleware that is neither the API's nor for browsers only, and for one that only the API has."""
    return [
        *(
            Error(
                f"{path} is in MIDDLEWARE, but neither in API_MIDDLEWARE nor in BROWSER_ONLY_MIDDLEWARE.",
                hint="Decide whether API requests that carry a token must run it.",
                id="healthcare.E004",
            )
            for path in unclassified_middleware()
        ),
        *(
            Error(
                f"{path} is in API_MIDDLEWARE, but not in MIDDLEWARE, so that anonymous requests of the API skip it.",
                id="healthcare.E005",
            )
            for path in settings.API_MIDDLEWARE
            if path not in settings.MIDDLEWARE
        ),
        *(
            Error(f"{path} is in API_MIDDLEWARE and in BROWSER_ONLY_MIDDLEWARE.", id="healthcare.E006")
            for path in settings.API_MIDDLEWARE
            if path in settings.BROWSER_ONLY_MIDDLEWARE
        ),
    ]
