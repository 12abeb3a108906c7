# Everything runs in one environment, .venv, made from the locked requirements when it is missing or out of date.

PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo dev test torture test-outages test-debezium check simulate bench pictures lock

help:   ## this list
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/  make \1 \t\2/p' Makefile

demo: $(READY)   ## a recorded story on embedded servers; ends by itself
	$(BIN)/restore-projector demo

dev: $(READY)   ## everything on this machine until Ctrl-C; ARGS="--traffic 20 --watch" goes to the command
	$(BIN)/restore-projector dev $(ARGS)

# Four at a time: most of them wait for servers. Each process has servers of its own, and a file's tests stay together.
test: $(READY)   ## all tests; ARGS="--backend embedded -k NAME" goes to pytest
	$(BIN)/python -m pytest --numprocesses 4 --dist loadfile $(ARGS)

test-outages: $(READY)   ## readers whose Kafka is killed and hangs
	$(BIN)/python -m pytest -m outage $(ARGS)

torture: $(READY)   ## MINUTES=2 of everything that can happen; SEED=7 again as it was; ARGS="--brokers 3"
	$(BIN)/python -m tests.torture --minutes $(or $(MINUTES),2) $(if $(SEED),--seed $(SEED)) $(ARGS)

test-debezium: $(READY)   ## from PostgreSQL by a real Debezium to Redis; needs PostgreSQL, Java, Maven
	./tests/debezium/install-postgresql.sh
	$(BIN)/python -m pytest -m debezium $(ARGS) tests/debezium

check: $(READY)   ## lint, format, types, layers, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m projections.book --check
	$(BIN)/python -m worker.book --check
	$(BIN)/restore-projector contracts export --check

simulate: $(READY)   ## histories with faults by seed; SEEDS=20000, ARGS="--from 1 --jobs 2" or "--seed 17 --trace"
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),3000) $(ARGS)

bench: $(READY)   ## speed and memory on this machine, 20 minutes; ARGS="--only catch-up --json FILE --draw FOLDER"
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/bench.txt
	$(BIN)/python -m tests.bench $(ARGS)

pictures: $(READY)   ## the README's pictures of a terminal, from a real run; needs Java 17, Maven, Redis
	$(BIN)/python -m tests.pictures

# One resolution for every platform and Python from 3.11 on, and no address of an index in what it writes.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" --upgrade

lock: $(READY)   ## the newest versions that pyproject.toml allows, into requirements/
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/$(LOCK) pyproject.toml --output-file requirements/run.txt
	$(BIN)/$(LOCK) --group build --output-file requirements/build.txt
	$(BIN)/$(LOCK) pyproject.toml --extra demo --extra docker --group dev --output-file requirements/dev.txt \
		--constraints requirements/run.txt --constraints requirements/build.txt
	$(BIN)/$(LOCK) --group bench --output-file requirements/bench.txt --constraints requirements/dev.txt

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
