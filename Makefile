# Targets for people and for CI; `make help` lists them. Everything is installed from the hashed locks in requirements/.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What the tests build and keep (images, models, an engine's seed volume) lies here, never in the checkout.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/deployctl-tests
# The tools that the benchmarks compare with never meet deployctl's own packages.
BENCH := $(CACHE)/bench-venv
BENCH_ARGS ?=
PYTEST_ARGS ?=
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-config --no-header --no-annotate --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.PHONY: help venv lab test test-unit bench-control lint format lock docs demo demo-down clean clean-lab

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

venv: $(VENV)/.installed ## a virtual environment with the locked tools and this checkout (VENV=… says where)

$(VENV)/.installed: requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "deployctl needs Python 3.11 or newer (make PYTHON=…)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install -qq --no-build-isolation --no-deps -e .
	@touch $@

lab: venv ## build what the tests keep between runs: images, models (needs root and a Docker Engine; 5 minutes once)
	$(BIN)/python -m tests.lab.prepare

test: lab ## every test that this machine can run; the end of the output says what was skipped and why
	$(BIN)/python -m pytest $(PYTEST_ARGS)

FAULTS := test_faults.py test_cut.py test_two_runs.py
.PHONY: test-faults
test-faults: lab ## kill deployctl before and after every step it has, and cut, freeze and restart its hosts; half an hour
	DEPLOYCTL_TEST_FAULTS=all $(BIN)/python -m pytest -q $(addprefix tests/hosts/recovery/,$(FAULTS)) $(PYTEST_ARGS)

.PHONY: test-diagnosis
test-diagnosis: lab ## provoke failures for real, and print the diagnosis table with what proves each entry; 15 minutes
	DEPLOYCTL_TEST_DIAGNOSIS=all $(BIN)/python -m pytest -q -p tests.health.printed tests/health tests/hosts $(PYTEST_ARGS)

test-unit: venv ## the tests that need no Docker Engine, in parallel
	$(BIN)/python -m pytest -n auto -m "not hosts and not vllm" $(PYTEST_ARGS)

.PHONY: test-routes bench-gateway
test-routes: venv ## every route of both engines with every kind of key, through a real gateway; fails on a hole
	$(BIN)/python -m tests.gateway.table

bench-gateway: venv ## what the gateway adds to latency and takes from throughput (BENCH_ARGS="--rounds 5")
	$(BIN)/python -m tests.bench.gateway $(BENCH_ARGS)

bench-control: venv $(BENCH)/.installed ## a run that changes nothing, against Ansible and pyinfra (needs a lab; BENCH_ARGS="--runs 7")
	$(BIN)/python -m tests.bench.control --tools $(BENCH) $(BENCH_ARGS)

.PHONY: bench-fit
bench-fit: venv ## predicted against measured memory, for every figure that the tests have
	$(BIN)/python -m tests.bench.fit

$(BENCH)/.installed: requirements/bench.lock
	rm -rf $(BENCH)
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install -qq --require-hashes -r requirements/bench.lock
	@touch $@

lint: venv ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv ## put the code in ruff's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: venv ## resolve requirements/*.lock anew; UPGRADE=1 takes newer versions
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml -o requirements/runtime.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra report -c requirements/runtime.lock -o requirements/report.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra report --group dev requirements/build.in \
		-c requirements/report.lock -o requirements/dev.lock
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements/bench.in -o requirements/bench.lock
	@! grep -nE '^-|https?://|file:' requirements/*.lock || { echo "a lock names an index or a path" >&2; exit 1; }

docs: venv ## write the generated parts of docs/ anew
	$(BIN)/python docs/generate.py

demo: ## deploy a small model on this machine's CPU and ask it a question; no root, Docker or GPU needed
	docs/demo.sh up

demo-down: ## take the demo away again
	docs/demo.sh down

clean: ## remove what the targets above made in the checkout
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-lab: venv ## remove what the tests keep between runs: images, volumes, models
	$(BIN)/python -m tests.lab.clean
	rm -rf $(CACHE)
