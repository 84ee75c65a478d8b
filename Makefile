# Each target makes .venv and installs what it needs; nothing is done twice.
PYTHON ?= python3
DATA ?= arena_data/sample.csv
BIN := .venv/bin

.PHONY: setup demo test fuzz lint site bench leaderboard scale clean

setup: .venv/.setup

.venv/.setup: requirements.txt constraints.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.venv/.dev: .venv/.setup requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# Battles explained and split, MiniLM trained on one part, judged on the other. Other battles start a new run; the old one
# is removed only once the new battles have been read. Without a launcher, which would give a CPU's process one thread.
export DATA
demo: .venv/.setup
	mkdir -p runs/.demo
	$(BIN)/python -m reward_model explore "$$DATA" --report runs/.demo/battles.html --split runs/.demo/battles
	cmp -s runs/.demo/battles/train.jsonl runs/demo/battles/train.jsonl || rm -rf runs/demo
	mkdir -p runs/demo && rm -rf runs/demo/battles runs/demo/battles.html && mv runs/.demo/battles runs/.demo/battles.html runs/demo
	$(BIN)/python -m reward_model weights minilm
	$(BIN)/python train_reward.py --config recipes/minilm_cpu.yaml --train_file runs/demo/battles/train.jsonl \
		--output_dir runs/demo
	$(BIN)/python predict.py --model runs/demo --input runs/demo/battles/test.jsonl \
		--output runs/demo/submission.csv --report runs/demo/report.html --offline
	@echo "Open runs/demo/battles.html, runs/demo/curves.png and runs/demo/report.html"

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Every reader against thousands of broken files: minutes.
fuzz: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m fuzz --fuzz 5000 -s tests/hostile

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The documentation, in build/site: strict, and without a network.
site: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# Each is a command of its own and says in its first lines what it needs; the last three take long.
bench: .venv/.dev
	$(BIN)/python -m reward_model weights minilm
	$(BIN)/python -m benchmarks.speed.reading
	$(BIN)/python -m benchmarks.speed.report
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.calibration
	$(BIN)/python -m benchmarks.speed.training
	$(BIN)/python -m benchmarks.speed.prediction --model models/minilm --input "$$DATA"

leaderboard: .venv/.dev
	$(BIN)/python -m reward_model weights minilm
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.leaderboard

# Every engine on two CPU processes, compared with one process, and the other tests that take long: half an hour.
scale: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m scale
	$(BIN)/python -m benchmarks.scale

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache runs
