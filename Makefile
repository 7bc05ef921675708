# Two commands cover everything: `make repro` and `make test`.
PYTHON ?= python3.11
VENV := .venv
UV_VERSION := 0.13.9
# The packages; with LOCK=requirements.hashes, a package whose file has changed since it was locked is refused.
LOCK ?= requirements.lock
# Number of training runs, or of test processes, at once.
JOBS ?= 2
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Lets Python cache compiled modules, instead of compiling them at every start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: repro test setup ui page lint clean
repro: $(VENV)/.ready ## run the whole study; does nothing if nothing has changed
	sdaug grid --jobs $(JOBS)
	@cat report/comparison.txt; echo "Page and pictures: report/index.html"

# One thread for each process: threads that wait for a core that another process has slow both down.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.ready ## run linters and tests
	ruff check
	mypy
	pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

setup: $(VENV)/.ready ## create the environment only

ui: $(VENV)/.ready ## browse curves and pictures of all training runs on localhost
	mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000

page: $(VENV)/.ready ## draw, browse and predict in a browser, on localhost
	sdaug page --open

$(VENV)/.ready: $(LOCK) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	uv pip install --quiet --python $(VENV)/bin/python --requirement $(LOCK)
	uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation --editable .
	touch $@

clean: ## remove the environment; results stay
	rm -rf $(VENV)
