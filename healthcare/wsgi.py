"""The WSGI application, and the set-up of a server process before its first request."""

import logging
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcare.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402 - after the settings are loaded
from django.core import signals  # noqa: E402
from django.db import OperationalError, connections, reset_queries  # noqa: E402

from healthcare.outbox import acknowledgements  # noqa: E402
from healthcare.postgresql.base import limit_answer_time  # noqa: E402
from healthcare.routers import CLINICAL  # noqa: E402
from healthcare.web.handlers import Application  # noqa: E402

application = Application()
limit_answer_time()
acknowledgements.start_batching()
if not settings.DEBUG:
    # `reset_queries` matters only with DEBUG.
    signals.request_started.disconnect(reset_queries)
try:
    # A wrong key, or a server that is no replica set, must stop the process now instead of failing each request.
    connections[CLINICAL].ensure_connection()
except OperationalError:
    # MongoDB may start later than this process; the first request connects.
    logging.getLogger("healthcare").warning("MongoDB cannot be reached yet.")
