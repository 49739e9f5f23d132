import logging
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcare.settings")
django_application = get_wsgi_application()

from django.conf import settings  # noqa: E402 - after they are there
from django.core import signals  # noqa: E402
from django.db import OperationalError, connections, reset_queries  # noqa: E402

from healthcare.lane import Lane  # noqa: E402
from healthcare.outbox import acknowledgements
from healthcare.postgresql import circuit_breaker
from healthcare.routers import CLINICAL  # noqa: E402

application = Lane(django_application)
circuit_breaker.limit_wait_for_answers()
acknowledgements.start_batching()
if not settings.DEBUG:
    # It forgets the statements that DEBUG notes.
    signals.request_started.disconnect(reset_queries)
try:
    # Whoever has the wrong key, or a server that is no replica set, is told so now and not by each request.
    connections[CLINICAL].ensure_connection()
except OperationalError:
    # It may come up later than this process; the first request looks again.
    logging.getLogger("healthcare").warning("MongoDB cannot be reached yet.")
