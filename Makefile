# Each target makes .venv and installs what it needs; nothing is done twice.
PYTHON ?= python3
DATA ?= arena_data/sample.csv
BIN := .venv/bin

.PHONY: setup demo test lint bench clean

setup: .venv/.setup

.venv/.setup: requirements.txt constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/.dev: .venv/.setup requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

demo: .venv/.setup
	mkdir -p runs/demo
	$(BIN)/python -m arena_data $(DATA) --report runs/demo/battles.html
	@echo "Open runs/demo/battles.html"

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/.dev
	$(BIN)/python -m benchmarks.reading

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache runs
