# One vocabulary for people, hooks and CI. Every target that needs Python first makes .venv from requirements.lock.
#
#   make PYTHON=python3.12 ...      another interpreter        make TORCH_BACKEND=cu130 ...    a CUDA build of torch

SHELL := bash
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready$(if $(TORCH_BACKEND),-$(TORCH_BACKEND))
export PYTHON TORCH_BACKEND
unexport PYTHONDONTWRITEBYTECODE  # compiled imports are kept: without them every process starts three times slower
# Nothing here reports home: not the tools, not the tests.
export DO_NOT_TRACK = true
export MLFLOW_DISABLE_TELEMETRY = true
export DVC_NO_ANALYTICS = 1
export ORT_DISABLE_TELEMETRY = 1

.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements.lock pyproject.toml scripts/venv.sh
	@scripts/venv.sh

.PHONY: venv
venv: $(READY)  ## make .venv only

.PHONY: demo
demo: $(READY)  ## run the whole life cycle on real data, then print what happened
	@$(BIN)/loop doctor --quiet
	@$(BIN)/loop demo

.PHONY: up
up: $(READY)  ## start Airflow, MLflow and the model server, and leave them running
	@$(BIN)/loop doctor --quiet
	@$(BIN)/loop up

.PHONY: down
down: $(READY)  ## stop what `make up` started
	@$(BIN)/loop down

.PHONY: status
status: $(READY)  ## what runs, and where
	@$(BIN)/loop status

.PHONY: doctor
doctor: $(READY)  ## what would stand in the way: ports, memory, disk, the Docker engine
	@$(BIN)/loop doctor
	@$(BIN)/loop doctor --containers

.PHONY: compose
compose: $(READY)  ## the same in containers: `docker compose up`, healthy, in the background (docs/containers.md)
	@$(BIN)/loop doctor --containers --quiet
	@LOOP_REVISION=$$(git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null) \
	    docker compose up --build --detach --wait
	@echo "Airflow's user is admin; its password: docker compose run --rm setup secret AIRFLOW_ADMIN_PASSWORD"

.PHONY: compose-down
compose-down:  ## stop the containers; data, models and history stay (with them: docker compose down -v)
	@docker compose --profile '*' down

.PHONY: test-compose
test-compose: $(READY)  ## the compose file and the images on a real Docker engine, some ten minutes
	@$(BIN)/loop doctor --containers --quiet
	@$(BIN)/pytest -q -m compose tests/compose

.PHONY: k8s-images
k8s-images:  ## build the images, push them to REGISTRY, write their digests into k8s/overlays/production
	@scripts/k8s-images.sh $(REGISTRY)

.PHONY: test-k8s
test-k8s: $(READY)  ## k8s/ as kubectl renders it, and all that talks to a cluster
	@$(BIN)/pytest -q -n 2 --dist loadfile -m k8s tests/k8s tests/executor tests/e2e tests/kubernetes_api tests/pipeline

.PHONY: e2e-k8s
e2e-k8s:  ## the whole loop on the cluster of the present kubectl context, judged under load; half an hour (tests/e2e)
	@python3 -m tests.e2e

.PHONY: test
test: $(READY)  ## run the tests
	@$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder
	@echo "The container tests did not run: they need a Docker engine and ten minutes; make test-compose runs them."

.PHONY: test-loops
test-loops: $(READY)  ## the whole loop on tables that the template has never seen, and on images
	@$(BIN)/pytest -q -m loops -n 2 --dist worksteal tests/loops

.PHONY: drill-serving
drill-serving: $(READY)  ## kill, starve and flood real model servers: nothing that was acknowledged may be lost
	@$(BIN)/python -m tests.drills

.PHONY: fuzz-serving
fuzz-serving: $(READY)  ## ask a real model server what its OpenAPI document allows, and what nobody should ask
	@$(BIN)/python -m tests.fuzz

.PHONY: bench-serving
bench-serving: $(READY)  ## the model server beside `mlflow models serve` and an empty endpoint
	@$(BIN)/python -m tests.bench.serving

.PHONY: bench-score
bench-score: $(READY)  ## `loop score` beside bare onnxruntime: rows a second and memory
	@$(BIN)/python -m tests.bench.score

.PHONY: check
check: $(READY)  ## lint, formatting, types, direction of the imports, docs
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/docs

.PHONY: format
format: $(READY)  ## format the code and sort its imports
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

.PHONY: lock
lock: $(READY)  ## write requirements.lock afresh from pyproject.toml
	@PATH="$(abspath $(BIN)):$$PATH" scripts/lock.sh

.PHONY: clean
clean:  ## stop the stack; remove .venv, caches and everything that a run wrote
	@if [ -x $(BIN)/loop ]; then $(BIN)/loop down; fi
	rm -rf $(VENV) .loop .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
