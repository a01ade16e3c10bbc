# Everything sets itself up: a virtual environment, the install, the data. Needs Python >= 3.11.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test compare zoo docs reference clean

help: ## List the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "compressor needs Python 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

install: $(INSTALLED) ## Make .venv with the package and what its tests need

demo: $(INSTALLED) ## Fashion-MNIST from training to a timed slim network, into runs/demo
	$(BIN)/compressor data get fashion-mnist
	$(BIN)/compressor run fashion-mnist --out runs/demo --resume

test: $(INSTALLED) ## Format, lint, types, layers and tests
	PATH="$(CURDIR)/$(BIN):$$PATH" tools/check

compare: $(INSTALLED) ## DessiLBI against its rivals, three seeds; long, and goes on where it stopped
	$(BIN)/compressor data get fashion-mnist
	$(BIN)/python tools/compare.py --set data.train_images=20000 --set train.epochs=6 --set tune.epochs=8

zoo: $(INSTALLED) ## Strip every torchvision network and families of timm; long, and goes on where it stopped
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[timm]'
	$(BIN)/python tools/zoo

docs: $(INSTALLED) ## Build the documentation into site; nothing is fetched
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

reference: $(INSTALLED) ## Write the pages on commands and settings from the code
	$(BIN)/python tools/reference.py

clean: ## Remove the virtual environment and caches, but no run
	rm -rf $(VENV) site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
