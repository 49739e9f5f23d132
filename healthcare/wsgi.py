import logging
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcare.settings")
application = get_wsgi_application()

from django.db import OperationalError, connections  # noqa: E402 - after the settings are there

from healthcare import outages  # noqa: E402
from healthcare.routers import CLINICAL  # noqa: E402

outages.bound_answers()
try:
    # Whoever has the wrong key, or a server that is no replica set, is told so now and not by each request.
    connections[CLINICAL].ensure_connection()
except OperationalError:
    # It may come up later than this process; the first request looks again.
    logging.getLogger("healthcare").warning("MongoDB cannot be reached yet.")
