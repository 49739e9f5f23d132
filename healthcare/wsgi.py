import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcare.settings")
application = get_wsgi_application()

from healthcare import outages  # noqa: E402 - after the settings are there

outages.bound_answers()
