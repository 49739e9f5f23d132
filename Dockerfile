# syntax=docker/dockerfile:1
# The production image of the application: web server, event relay and every manage.py command (docs/deployment.md).

FROM python:3.13-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
# Copied before the code, so that a change of the code does not install all packages again. This file contains neither
# the embedded databases nor the development tools.
COPY requirements.txt .
RUN /venv/bin/pip install --no-deps --only-binary :all: --requirement requirements.txt
RUN /venv/bin/pip check
COPY . /app
RUN /venv/bin/python -m compileall -q /app

FROM python:3.13-slim-bookworm
# The account has no home and no shell. The code belongs to root, so the application cannot change it.
RUN groupadd --gid 10001 healthcare \
    && useradd --uid 10001 --gid healthcare --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin healthcare
COPY --from=build /venv /venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    # The application writes only to /tmp, so the image can be read-only with a tmpfs at /tmp.
    MPLCONFIGDIR=/tmp/matplotlib \
    # The number of gunicorn's processes. Each process has four threads.
    WEB_CONCURRENCY=3
USER 10001:10001
EXPOSE 8000
# Checks /healthz and not /readyz, because a container must not be restarted when a database is down.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# gunicorn answers the requests that it has accepted before it ends (graceful_timeout), so wait 45 seconds for it.
STOPSIGNAL SIGTERM
CMD ["gunicorn", "healthcare.wsgi", "--config", "python:healthcare.web.gunicorn_conf", "--bind", "0.0.0.0:8000", \
     "--worker-tmp-dir", "/dev/shm"]
