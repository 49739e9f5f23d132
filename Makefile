# Everything that is done often. Python, make and a network are enough; the rest is made here, and `clean` removes it.

PORT ?= 8000
WORKERS ?= 3
# Test files at once, each with databases of its own.
JOBS ?= 2
# The first Python that is new enough.
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
PY := .venv/bin/python
INSTALL := $(PY) -m pip --disable-pip-version-check install --quiet
COMPILE := $(PY) -m uv pip compile --quiet --universal --custom-compile-command "make requirements" pyproject.toml

.PHONY: run serve test bench fuzz postman lint audit leaks format openapi screenshots requirements clean

run: .venv/for-running
	$(PY) manage.py start --port $(PORT)

serve: .venv/for-running
	$(PY) manage.py start --production --port $(PORT) --workers $(WORKERS)

test: .venv/for-development
	$(PY) -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

# Requests that Schemathesis makes up from the OpenAPI document, as everybody.
fuzz: .venv/for-development
	$(PY) -m pytest --numprocesses $(JOBS) -m fuzz tests/security/test_schema.py

# The Postman collection's journey, against what `make run` or `make serve` started.
postman: postman/node_modules
	postman/node_modules/.bin/newman run postman/SmartHealthcare.postman_collection.json \
		--environment postman/local.postman_environment.json --env-var baseUrl=http://127.0.0.1:$(PORT)

# The API against a bare WSGI application, for some minutes; BENCH="--quick" to see that it runs (docs/performance.md).
bench: .venv/for-development
	$(PY) -m bench --json docs/benchmarks/bench.json $(BENCH)

lint: .venv/for-development
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	bash -n deploy/make-secrets deploy/postgresql-roles.sh

# Known vulnerabilities in what is pinned.
audit: .venv/for-development
	.ci/audit

# Secrets in what is committed. Tests are full of made-up passwords and prose speaks of them: both are looked through for
# everything else.
leaks: .venv/for-development
	git ls-files -z -- . ':!tests' ':!*.md' ':!requirements*.txt' ':!docs/openapi.yaml' \
		| xargs -0 .venv/bin/detect-secrets-hook --exclude-lines ':password@localhost'
	git ls-files -z -- tests '*.md' | xargs -0 .venv/bin/detect-secrets-hook --disable-plugin KeywordDetector \
		--exclude-lines ':password@localhost'

format: .venv/for-development
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

openapi: .venv/for-development
	$(PY) manage.py spectacular --file docs/openapi.yaml --validate --fail-on-warn

# The pictures of the admin in docs/images; Debian's Chromium takes them.
screenshots: .venv/for-development
	$(PY) -m bench.screenshots

requirements: .venv/for-development
	$(COMPILE) --output-file requirements.txt
	$(COMPILE) --extra embedded --constraint requirements.txt --output-file requirements-embedded.txt
	$(COMPILE) --extra embedded --extra dev --constraint requirements-embedded.txt --output-file requirements-dev.txt

clean:
	if [ -e .venv/for-running ] || [ -e .venv/for-development ]; then $(PY) manage.py devstack reset; \
		$(PY) manage.py devstack reset --dir .bench; fi
	rm -rf postman/node_modules .devstack .bench .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

postman/node_modules: postman/package-lock.json
	@command -v npm > /dev/null || { echo "newman needs Node.js: apt-get install nodejs npm" >&2; exit 1; }
	npm ci --prefix postman --no-audit --no-fund
	@touch $@

# Two stamps, as a first `make run` need not wait for the tools of development.

.venv/for-running: requirements-embedded.txt | $(PY)
	@echo "Installing $< into .venv"
	@$(INSTALL) --requirement $<
	@touch $@

.venv/for-development: requirements-dev.txt | $(PY)
	@echo "Installing $< into .venv"
	@$(INSTALL) --requirement $<
	@touch $@ .venv/for-running

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is not. Name one: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
		exit 1; }
	@$(PYTHON) -m venv --clear .venv
