# make run    set up, then run the source ablation at smoke size and write its report
# make test   set up, lint, run every test, in three processes at a time: a third of their time is waiting (WORKERS=2: in two)
# make rehearsals   every study with --rehearse on music in the published layouts; an hour and more
# make chaos  kill a study's processes at random, on clusters of this machine's own; half an hour and more
# make gpu    measure this machine's GPU; needs torch and this checkout alone, under 8 minutes; tables in gpu-results
# make simulate MINUTES=10   processes, machines and disks that fail, simulated: other schedules than those of make test
# make docs STORE=store   the documentation site in site/, with reports made by this version and those of a store
# make ui     open MLflow on the study
# make lint   format, ruff and mypy
# make lock   write the list of packages and hashes anew that setup installs
SHELL := /bin/bash
PYTHON ?= python3.11
STORE ?= store
PORT ?= 5000
STUDY ?= source_ablation
MINUTES ?= 10
WORKERS ?= 3
FIRST ?= $(shell date +%s)000
BIN := .venv/bin

.PHONY: setup run test test-unit rehearsals chaos simulate gpu lint lock docs ui clean
setup: .venv/ready

.venv/ready: pyproject.toml tools/setup.sh tools/locked.txt
	@bash tools/setup.sh $(PYTHON)

run: setup
	@test -f studies/$(STUDY).py || { echo "error: there is no study '$(STUDY)'; choose from: $(notdir $(basename $(filter-out %__init__.py,$(wildcard studies/*.py))))" >&2; exit 2; }
	@$(BIN)/python studies/$(STUDY).py --smoke --store $(STORE)

# The tests of large studies are held to seconds of CPU: beside them runs lint, one process, and nothing else.
test: setup
	@$(MAKE) --no-print-directory lint & lint=$$!; \
	$(BIN)/python -m pytest tests/study/test_scale.py; tests=$$?; wait $$lint && exit $$tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/study/test_scale.py

rehearsals: setup
	$(BIN)/python -m pytest -m "rehearsal or slow" -v --timeout 3600 tests/study/test_rehearsals.py

chaos: setup
	$(BIN)/python -m pytest -m chaos -s tests

gpu:
	@$(if $(wildcard $(BIN)/python),$(BIN)/python,python3) benchmarks/gpu.py

simulate: setup
	$(BIN)/python -m tests.simulation --minutes $(MINUTES) --first $(FIRST)

test-unit: setup
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not ray and not slow and not gpu and not chaos and not rehearsal"

lint: setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check .
	$(BIN)/mypy

lock: setup
	@bash tools/lock.sh

docs: setup
	@$(BIN)/python tools/docs.py $(if $(wildcard $(STORE)/studies),--store $(STORE))

ui: setup
	@$(BIN)/python -m mss_core.study.tracking ui --store $(STORE) --port $(PORT)

clean:
	rm -rf .venv
