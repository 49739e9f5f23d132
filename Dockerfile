# syntax=docker/dockerfile:1
# The application, for production: web server, event relay and every manage.py command. docs/deployment.md has the rest.

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
# Apart from the code, so that a change there does not install everything again. Neither the embedded databases nor the
# tools of development are in this file.
COPY requirements.txt .
RUN /venv/bin/pip install --no-deps --only-binary :all: --requirement requirements.txt
RUN /venv/bin/pip check
COPY . /app
RUN /venv/bin/python -m compileall -q /app

FROM python:3.13-slim-bookworm
# An account without a home or a shell; the code belongs to root, so that it cannot change itself.
RUN groupadd --gid 10001 healthcare \
    && useradd --uid 10001 --gid healthcare --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin healthcare
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    # Everything that is written goes to /tmp, which may be a tmpfs beside a read-only image.
    MPLCONFIGDIR=/tmp/matplotlib \
    # gunicorn's processes; each has four threads.
    WEB_CONCURRENCY=3
USER 10001:10001
EXPOSE 8000
# Alive, not ready: a container is not restarted because a database is away.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# gunicorn answers who is there before it ends (graceful_timeout): give it 45 seconds.
STOPSIGNAL SIGTERM
CMD ["gunicorn", "healthcare.wsgi", "--config", "python:healthcare.webserver", "--bind", "0.0.0.0:8000", \
     "--worker-tmp-dir", "/dev/shm"]
