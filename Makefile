# The frequent tasks. Python, make and a network are enough: the targets install the rest, and `clean` removes it.

PORT ?= 8000
WORKERS ?= 3
# The number of pytest workers, each with databases of its own. The first two run the tests that wait for servers, and
# leave the processor to the others (tests/scheduling.py), so there are two more than cores.
CORES ?= 2
JOBS ?= $(shell expr $(CORES) + 2)
# The first Python on the PATH that is new enough.
PYTHON ?= $(or $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
PY := .venv/bin/python
INSTALL := $(PY) -m pip --disable-pip-version-check install --quiet
COMPILE := $(PY) -m uv pip compile --quiet --universal --custom-compile-command "make requirements" pyproject.toml

.PHONY: run serve test test-fast bench fuzz postman lint audit leaks format openapi screenshots requirements clean

run: .venv/for-running
	$(PY) manage.py start --port $(PORT)

serve: .venv/for-running
	$(PY) manage.py start --production --port $(PORT) --workers $(WORKERS)

test: .venv/for-development
	$(PY) -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

# The tests to run while writing code. They leave out the tests that start servers, wait for an outage or drive a browser,
# the data sets, the benchmarks, and some tables that are long: SLOW in tests/scheduling.py lists all of them.
test-fast: .venv/for-development
	$(PY) -m pytest --numprocesses $(CORES) --dist loadfile --no-loadscope-reorder -m "not slow and not fuzz"

# Sends requests that Schemathesis generates from the OpenAPI document, in every role.
fuzz: .venv/for-development
	$(PY) -m pytest --numprocesses $(CORES) -p schemathesis -m fuzz tests/security/test_schema.py

# Runs the Postman collection against the server that `make run` or `make serve` started.
postman: postman/node_modules
	postman/node_modules/.bin/newman run postman/SmartHealthcare.postman_collection.json \
		--environment postman/local.postman_environment.json --env-var baseUrl=http://127.0.0.1:$(PORT)

# Compares the API with a bare WSGI application, for some minutes. BENCH="--quick" only checks that the benchmark runs
# (docs/performance.md).
bench: .venv/for-development
	$(PY) -m benchmarks.api --json docs/benchmarks/bench.json $(BENCH)

lint: .venv/for-development
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy .
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	bash -n deploy/make-secrets deploy/postgresql-roles.sh

# Looks for known vulnerabilities in the pinned packages.
audit: .venv/for-development
	.ci/audit

# Looks for secrets in committed files. Tests and documentation contain invented passwords, so both are searched for all
# other kinds of secrets only.
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

# Takes the pictures of the admin in docs/images with Debian's Chromium.
screenshots: .venv/for-development
	$(PY) -m benchmarks.api.screenshots

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

# There are two stamp files, so that a first `make run` does not wait for the development tools.

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
