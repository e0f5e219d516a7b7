# Everything sets itself up first, and does again only what is not done yet.
#
#   make demo    two changes to the lending environment: one READY, one NOT_READY, two signed reports
#   make test    lint, types, layers, then all tests (needs a Docker engine; gets one where it can)
#   make lint    ruff, mypy --strict, import-linter (Python alone)
#   make bench   overhead, start-up, memory and time per stage, as tables
#   make bench-replay   recordings and their replay beside other tools: lateness, throughput, import (needs no engine)
#   make seeds   both changes of the demo with five seeds each: no other outcome (long)
#   make kills   kill -9 of a run at ten random moments, then the sweep: nothing left (long)
#   make lock    resolve requirements/*.txt anew from pyproject.toml
#   make clean   take back what the above put here

PYTHON := .venv/bin/python
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: demo test lint bench bench-replay seeds kills lock clean
.DEFAULT_GOAL := demo

demo:
	@scripts/bootstrap
	@$(PYTHON) scripts/demo.py

test:
	@scripts/bootstrap
	@scripts/test

lint:
	@scripts/bootstrap python
	@scripts/test lint

bench:
	@scripts/bootstrap
	@$(PYTHON) -m tests.benchmarks

bench-replay:
	@scripts/bootstrap python
	@$(PYTHON) -m tests.benchmarks --only replay,recordings,store

seeds:
	@scripts/bootstrap
	@$(PYTHON) scripts/seeds.py

kills:
	@scripts/bootstrap
	@$(PYTHON) scripts/kills.py

lock:
	@scripts/lock

clean:
	@scripts/clean
