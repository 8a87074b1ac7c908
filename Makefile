# Everything below works on a machine with Python (3.11 or newer), git and make: it makes a venv of its own and
# installs nothing anywhere else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed-agent
DEV_STAMP := $(VENV)/.installed-dev

.PHONY: demo test test-real fuzz kill-rounds coverage check bench docs site recording changelog dist format lock clean

demo: $(RUN_STAMP)  ## The main job on a bundled repository, offline, with scripted models
	@$(BIN)/architect demo

test: $(DEV_STAMP)  ## The whole test suite but the tests with real agents
	@$(BIN)/python -m pytest -q --durations 10 --durations-min 20

test-real: $(DEV_STAMP)  ## The real agents from the npm registry against a loopback model server; AGENTS="claude or codex"
	@# Not below /tmp: there codex' own sandbox finds no helper where the system has bwrap.
	@place=$$(mktemp -d /var/tmp/architect-real-XXXXXX); \
	$(BIN)/python -m pytest -q -n 2 --basetemp="$$place/tests" -m real_agents -k "$(AGENTS)" tests/real_agents; \
	code=$$?; rm -rf "$$place"; exit $$code

FUZZ_SECONDS ?= 3600
FUZZ_SEED ?= $(shell date +%s)
fuzz: $(DEV_STAMP)  ## Random repositories, agents and commands: nothing is lost; FUZZ_SECONDS=3600 FUZZ_SEED=0
	@echo "FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED)"
	@FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_SEED=$(FUZZ_SEED) $(BIN)/python -m pytest -q -n 0 -s tests/fuzz

kill-rounds: $(DEV_STAMP)  ## 20 rounds of every end of contained agents, at two networks and by two mechanisms: nothing is left
	@KILL_ROUNDS=20 $(BIN)/python -m pytest -q -n 2 --durations 0 -k rounds tests/sandbox/test_nothing_left.py

TESTS ?= tests
coverage: $(DEV_STAMP)  ## Branch coverage by room, at least 90 % where work can be lost; TESTS=tests/unit for a part
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q $(TESTS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage json -q
	@$(BIN)/python tests/support/coverage_rooms.py coverage.json

check: $(DEV_STAMP)  ## Style, types, floors between the rooms, generated documents
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -q -n 0 tests/rules

bench: $(DEV_STAMP)  ## Every timing and memory goal, as ratios measured in one run
	@$(BIN)/python -m benchmarks

docs: $(DEV_STAMP)  ## The generated documents: command reference, JSON schemas
	@$(BIN)/python docs/generate.py

site: $(DEV_STAMP)  ## The documents as a site in build/site, without the network; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

recording: $(DEV_STAMP)  ## The README's recording anew: real commands, the demo's agents, no network
	@$(BIN)/python docs/recording.py

changelog: $(DEV_STAMP)  ## The fragments in changelog.d become the section of VERSION in CHANGELOG.md; VERSION=1.2.3
	@test -n "$(VERSION)" || { echo "no version given (try: make changelog VERSION=1.2.3)" >&2; exit 2; }
	@$(BIN)/towncrier build --yes --version "$(VERSION)"

dist: $(DEV_STAMP)  ## Wheel and sdist in dist/, with the version of the git tag
	@$(BIN)/python -m hatchling build -d dist

format: $(DEV_STAMP)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock:  ## requirements*.lock anew from the ranges in pyproject.toml: after a change there, or for newer versions
	@.ci/lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage* coverage.json dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv $(VENV) || { echo "a virtual environment cannot be made: install Python's venv module"; exit 1; }

$(RUN_STAMP): $(BIN)/python pyproject.toml requirements.lock
	@.ci/install demo $(VENV)
	@touch $@

$(DEV_STAMP): $(BIN)/python pyproject.toml requirements.lock
	@.ci/install development $(VENV)
	@touch $@ $(RUN_STAMP)
