# Two commands matter: `make quickstart` shows a load test on this machine, `make test` tests what matters in a quarter of
# an hour. CI runs `make sweep` after it, and `make soak` is for a night.
# Whatever they need, they install: a virtual environment in .venv, and for the e2e tests a real Kubernetes cluster.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
PURE := core/loadstone_core operator/loadstone_operator runner-image/loadstone_runner
# Component tests mostly wait.
SIDE_BY_SIDE := -n 4 --dist worksteal
OTHER_PYTHON := $(foreach each,agent engine grpc_loop http_tls launcher master script takeover,$(wildcard tests/component/test_$(each)*.py))
CODE := core protocol operator runner-image cli client tools tests benchmarks examples

-include tests/e2e/cluster/cluster.mk

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

.PHONY: quickstart
quickstart: .venv/runner.stamp ## run examples/quickstart.yaml on this machine, with a target of its own
	@$(BIN)/python examples/quickstart.py

.PHONY: test
test: .venv/compiled.stamp ## all tests of one Python, and the telling ones on a real Kubernetes cluster
	@$(BIN)/python tools/steps.py "lint types walls" beside prepare then "unit contract" beside stateful then e2e-telling then component

.PHONY: sweep
sweep: .venv/compiled.stamp ## what CI runs after that: the other end-to-end tests, Python 3.13, no compiler, what computes for a minute
	@$(BIN)/python tools/steps.py long beside other-python-unit then "component-pure other-python-component" then e2e-others

.PHONY: lint
lint: .venv/dev.stamp ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/check_house.py

.PHONY: types
types: .venv/dev.stamp ## mypy, strict
	$(BIN)/mypy core/loadstone_core protocol/loadstone_protocol operator/loadstone_operator runner-image/loadstone runner-image/loadstone_runner cli/loadstone_cli client/loadstone_client tools

.PHONY: walls
walls: .venv/dev.stamp ## which room may import which
	$(BIN)/lint-imports

.PHONY: compiled
compiled: .venv/compiled.stamp ## the compiled hot paths, beside their sources

.PHONY: unit
unit: .venv/compiled.stamp ## pure rooms, with their branch coverage
	$(BIN)/pytest tests/unit -q --cov=loadstone_core --cov-branch --cov-report=term --cov-fail-under=100

.PHONY: contract
contract: .venv/compiled.stamp ## files that must agree
	$(BIN)/pytest tests/contract -q

.PHONY: stateful
stateful: .venv/compiled.stamp ## real masters and agents in virtual time, while anything breaks (SEEDS=300)
	$(BIN)/pytest tests/stateful -q -n 2

.PHONY: component
component: .venv/compiled.stamp ## real processes on loopback
	$(BIN)/pytest tests/component -q $(SIDE_BY_SIDE) -m "not alone and not long"
	$(BIN)/pytest tests/component -q -m alone

.PHONY: component-pure
component-pure: .venv/compiled.stamp ## the engine's once more, as if there were no compiler
	LOADSTONE_PURE_PYTHON=1 $(BIN)/pytest $(wildcard tests/component/test_engine_*.py tests/component/test_script*.py) -q $(SIDE_BY_SIDE)

.PHONY: long
long: .venv/dev.stamp ## what computes for a minute: flat memory over a simulated day
	$(BIN)/pytest tests -q -m long

.PHONY: other-python
other-python: other-python-unit other-python-component ## unit tests and the component tests that hang on it on Python 3.13, where it is installed

.PHONY: other-python-unit
other-python-unit:
	@tools/other_python 3.13 tests/unit

.PHONY: other-python-component
other-python-component: # what hangs on asyncio, gevent, gRPC, OpenSSL and processes; the rest in `make soak`
	@tools/other_python 3.13 $(OTHER_PYTHON) $(SIDE_BY_SIDE) -m "not alone and not long and not once"

.PHONY: other-python-whole
other-python-whole:
	@tools/other_python 3.13 tests/component $(SIDE_BY_SIDE) -m "not alone and not long and not once"
	@tools/other_python 3.13 tests/component -m "alone and not once"

.PHONY: prepare
prepare: .venv/dev.stamp ## what the e2e tests run on, without starting it
	tests/e2e/run --prepare

.PHONY: e2e
e2e: .venv/dev.stamp ## on a real Kubernetes cluster
	tests/e2e/run

.PHONY: e2e-telling
e2e-telling: .venv/dev.stamp # refusals, and a run through each kind of trouble
	tests/e2e/run --telling

.PHONY: e2e-others
e2e-others: .venv/dev.stamp
	tests/e2e/run -m "not telling and not soak" --durations=20

.PHONY: bench-start
bench-start: .venv/dev.stamp ## from kubectl apply to the first request, and from the last one to the verdict
	tests/e2e/run --bench start

.PHONY: bench-operator
bench-operator: .venv/dev.stamp ## what the operator costs at rest and beside 20 runs, and how soon it is back
	tests/e2e/run --bench operator_cost

.PHONY: bench-import
bench-import: .venv/dev.stamp ## CPU time of imports and process starts
	$(BIN)/python benchmarks/imports.py

.PHONY: bench-engine
bench-engine: .venv/dev.stamp ## our engine beside wrk, hey, k6 and Locust, on one core (ARGS=--quick: less than 2 minutes)
	$(BIN)/python benchmarks/engine.py $(ARGS)

.PHONY: bench-messages
bench-messages: .venv/compiled.stamp ## custom messages: how many a core does, how long one takes, what a lane costs
	$(BIN)/python benchmarks/messages.py

.PHONY: bench-master
bench-master: .venv/compiled.stamp ## a master on one core with a thousand scripted agents: CPU, memory, how soon it answers
	$(BIN)/python benchmarks/master.py $(ARGS)

.PHONY: bench-control
bench-control: .venv/compiled.stamp ## what handlers that wait or compute, and a stuck log, do to heartbeats, loops and the load
	$(BIN)/python benchmarks/control.py $(ARGS)

.PHONY: bench-connect
bench-connect: .venv/compiled.stamp ## 5,000 scripted agents that come to one master at once
	$(BIN)/python benchmarks/connect.py $(ARGS)

.PHONY: soak
soak: .venv/compiled.stamp other-python-whole ## what waits for minutes: flat memory over 17 at full speed, a thousand starts and ends, 20,000 runs in virtual time, faults of the network, a node that freezes
	LOG_CYCLES=1000 LOG_RUNS=25 LOG_ENGINES=20 LOG_BLOCKED_SECONDS=10 LOG_STEADY_SECONDS=60 \
	  $(BIN)/pytest -q tests/component/test_logs.py -k "last_moments or all_that_a_script_prints or hundred_thousand or for_a_while"
	COLD_STARTS=1000 $(BIN)/pytest -q tests/component/test_cold_starts.py
	FLUSHED_HOURS=24 $(BIN)/pytest -q tests/component/test_flat_memory.py -k flushes
	$(BIN)/python benchmarks/soak.py $(ARGS)
	LOADSTONE_SOAK=1 $(BIN)/pytest tests/component/test_handlers.py -q -k "slow_handlers or own_process or interpreter"
	EXAMPLES=10000 $(BIN)/pytest -q --timeout=600 tests/unit/core/test_register.py tests/unit/runner/agent/test_desired.py
	SEEDS=20000 $(BIN)/pytest tests/stateful -q -n 2
	LOADSTONE_SOAK=1 $(BIN)/pytest tests/component/test_network_sweep.py -q $(SIDE_BY_SIDE)
	NODES=2 tests/e2e/run -m soak

.PHONY: generate
generate: .venv/dev.stamp ## stubs and CRDs, after a change of proto or model
	$(BIN)/python tools/generate_stubs.py
	$(BIN)/python tools/record_wire.py
	$(BIN)/python tools/render_crd.py

.PHONY: locks
locks: ## hash-pinned locks, after a change of dependencies
	tools/lock

.venv/runner.stamp: locks/runner.txt locks/build.txt pyproject.toml
	@tools/environment .venv runner $(PYTHON)

.venv/dev.stamp: locks/dev.txt pyproject.toml
	@tools/environment .venv dev $(PYTHON)

# Where no compiler is, the hot paths in Python are used and tested.
.venv/compiled.stamp: .venv/dev.stamp hatch_build.py $(wildcard runner-image/loadstone_runner/*/*/*.p[yx][xi])
	@$(BIN)/python hatch_build.py || [ $$? = 3 ]
	@touch $@

.PHONY: clean
clean: ## remove what the build made
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
