# Every command makes the environment that it needs: `make install` runs when it has to.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

PROJECTS := $(sort $(wildcard plugins/*/pyproject.toml))
PLUGINS := $(PROJECTS:/pyproject.toml=)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Whatever a build needs is pinned too, so builds take it from the environment.
PIP_INSTALL := $(PIP) install --constraint constraints.txt --no-build-isolation

SOURCES := nmrtk plugins benchmarks docs

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format docs train-13c bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

install: $(STAMP) ## Make .venv with nmrtk, every plugin and the development tools

$(STAMP): pyproject.toml constraints.txt $(PROJECTS)
	@echo "Installing into $(VENV): a few minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) hatchling editables
	@plugins="$(PLUGINS)"; \
	if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then \
		echo "Leaving out plugins/nmrtk-dgl: DGL has no wheel that works with this torch on" \
			"Python 3.12 and later. Everything else works."; \
		plugins="$(filter-out plugins/nmrtk-dgl,$(PLUGINS))"; \
	fi; \
	$(PIP_INSTALL) --editable ".[report,tensorboard,dev]" $$(printf -- '--editable %s ' $$plugins)
	@touch $@

demo: $(STAMP) ## The whole way in a few minutes, ending in a page to look at
	@$(BIN)/nmrtk demo

test: $(STAMP) ## Run all tests
	@$(BIN)/python -m pytest -q -n 2

lint: $(STAMP) ## Check style, format and types, as CI does
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy $(wildcard $(SOURCES))

format: $(STAMP) ## Rewrite the sources in the format that lint asks for
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(STAMP) ## Make what the pages show of the sources, and the picture, anew
	@$(BIN)/python docs/make_reference.py
	@$(BIN)/python docs/make_picture.py

train-13c: $(STAMP) ## Make the shipped 13C model from the measured data (hours)
	@$(BIN)/python plugins/nmrtk-model-13c/build_model.py --data ../shared/data --work build/13c

bench: $(STAMP) ## Print the tables of benchmarks/ that need no data but what ships
	@$(BIN)/python benchmarks/startup.py

clean: ## Remove the environment and everything made from the sources
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
