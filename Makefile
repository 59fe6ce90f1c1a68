# make test    environment, then all tests            make repro   environment, then the whole pipeline
# make check   linters, types, import directions      make env     only the environment (.venv)
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Activated, because dvc runs `python` and its queue runs `dvc`: whichever stand first on PATH.
ACTIVE := export PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/.venv" OMP_WAIT_POLICY=PASSIVE PYTHONUNBUFFERED=1;

.PHONY: env test repro check format
env: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt
	@echo "Making the environment in .venv (some minutes the first time)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip==26.3"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group dev
	@touch .venv/.ready

test: env
	@echo "Running all tests but the slow ones (pytest -m slow runs those), in a process a core, at most four"
	$(ACTIVE) OMP_NUM_THREADS=1 python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# The seed orders independent stages alike everywhere, and with them the entries of a dvc.lock that is written anew.
# A wrong path or name in params.yaml stops dvc before any stage of ours could say what is wrong: the doctor does.
repro: env
	@echo "Running the whole pipeline: dvc repro, then the result table"
	$(ACTIVE) export PYTHONHASHSEED=0; dvc repro || { echo "dvc repro stopped. cai doctor looks at params.yaml and this machine:"; cai doctor; exit 1; }; cai results

check: env
	$(ACTIVE) ruff check . && ruff format --check . && mypy && lint-imports

format: env
	$(ACTIVE) ruff check --fix . && ruff format .
