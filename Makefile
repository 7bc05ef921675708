# Two commands do it all: `make repro` and `make test`.
PYTHON ?= python3.11
VENV := .venv
UV_VERSION := 0.13.9
# Trainings at once.
JOBS ?= 2
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Compiled modules are written once instead of being compiled at every start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: repro test setup ui lint clean
repro: $(VENV)/.ready ## the whole study; does nothing where nothing has changed
	sdaug grid --jobs $(JOBS)
	@cat report/comparison.txt; echo "Page and pictures: report/index.html"

test: $(VENV)/.ready ## linters and tests
	ruff check
	mypy
	pytest

setup: $(VENV)/.ready ## the environment alone

ui: $(VENV)/.ready ## every training's curves and pictures, on localhost
	mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	uv pip install --quiet --python $(VENV)/bin/python --requirement requirements.lock
	uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	touch $@

clean: ## the environment; results stay
	rm -rf $(VENV)
