# One virtual environment, made once; every target uses it.
PYTHON ?= python3
BIN := .venv/bin
# Small networks on 8x8 digits; chosen on validation rows like everything else.
DEMO := --dataset digits --labels 30 --validation 400 --seeds 0 1 2 --epochs 50 --batch-size 50 \
	--alpha 1 --input-dropout 0.2 --hidden-dims 200 --latent-dim 10 --results-root build/demo --overwrite

.PHONY: demo test test-oldest docs notebooks bench lint format clean

.venv/installed: pyproject.toml setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/python -m experiments.mnist_m2 $(DEMO)

# Two processes of one thread each: hardly any test keeps more than one core busy.
test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# The lower bounds of pyproject.toml, in an environment of their own; needs Python 3.10 to 3.12.
test-oldest:
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --constraint tests/oldest.txt --editable . pytest hypothesis
	PYRO_SSL_ALL_CHECKS=1 .venv-oldest/bin/python -m pytest

# The site, build/docs/index.html, with the notebooks as they run. Its theme warns of a later MkDocs, unless the variable is set.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# The scripts of notebooks/ as .ipynb files beside them, for Jupyter.
notebooks: .venv/installed
	$(BIN)/pip install --quiet jupytext
	$(BIN)/jupytext --quiet --to ipynb notebooks/*.py

bench: .venv/installed
	$(BIN)/python -m benchmarks.step
	$(BIN)/python -m benchmarks.epoch
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.retrieval
	$(BIN)/python -m benchmarks.estimators

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-oldest build *.egg-info .pytest_cache .mypy_cache .ruff_cache
