# Everything runs in .venv, which is made once and again whenever the pins or the dependencies change.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

# Two test processes on two cores: one thread each, or their threads spin against each other. Neighbours stay together,
# since they share what a module prepares.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal

CHIPS := gcc g++ gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm gcc-avr avr-libc simavr arduino-core-avr

.PHONY: demo test test-all portable soak chip check format clean browser .venv

demo: .venv  ## grow and prune digit classifiers of three seeds, with pictures, results and C files in runs/demo
	$(BIN)/nestgraph synthesize digits --seeds 3 --out runs/demo --overwrite
	@for seed in 0 1 2; do command -v cc >/dev/null || { echo "make: no C compiler, so the networks were not written as C"; break; }; \
		$(BIN)/nestgraph -q export runs/demo/seed-$$seed/final.json runs/demo/digits_$$seed.c --int8 --data digits --seed $$seed --overwrite; done

test: .venv browser  ## the quick suite
	$(PYTEST) -m "not slow and not gpu"

test-all: .venv browser  ## every test; those for a GPU skip themselves where there is none
	THOROUGH=1 $(PYTEST) -m "not nightly"

portable: .venv browser  ## the tests that compute numbers, under every instruction set that this processor has
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.portable

soak: .venv  ## kill runs of every kind at a thousand instants and more, resume them, and compare every byte
	$(PYTEST) -m slow tests/soak

chip: .venv  ## install compilers, simulators and the Arduino core (Debian), and run the tests that need them
	@test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq $(CHIPS) >/dev/null \
		|| echo "make: not all of $(CHIPS) can be installed here; what did not run is listed at the end" >&2
	$(PYTEST) -rs -m chip tests/chip tests/recipes/test_budget.py

check: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## caches and built files; runs/ and .venv/ stay
	rm -rf dist build .pytest_cache .ruff_cache .hypothesis
	find nestgraph tests -name __pycache__ -type d -prune -exec rm -rf {} +

browser:  ## what the tests of reports drive; without it they say that they did not run
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq chromium >/dev/null; } || echo "make: no chromium, and none can be installed here"

.venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: nestgraph expects Python 3.11 or newer, found none; set PYTHON=..." >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@# These ask for torchvision, which does not load beside this torch; none needs it for what the tests use.
	$(BIN)/python -m pip install --quiet --no-deps -c constraints.txt pytorchcv timm torch-pruning
	touch $@
