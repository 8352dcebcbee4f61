# Every target sets itself up: no activation, no other command before it.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/demo

.PHONY: demo test slow studies lint bench clean

.venv/ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test,lint]"
	touch $@

.venv/demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

demo: .venv/demo   ## train, measure, check and report on the embedded digits
	$(BIN)/infossl train --out $(RUN) --measure full --overwrite

test: .venv/ready  ## small settings of everything
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: .venv/ready  ## the long checks too
	$(BIN)/python -m pytest -n 2 --dist loadfile --slow

studies: .venv/ready  ## the full tables of experiments/
	for study in experiments/*/run.py; do $(BIN)/python $$study || exit 1; done

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --verbose
	$(BIN)/mypy

bench: .venv/ready  ## speed against peers, in one run
	$(BIN)/python benchmarks/ksg.py --write

clean:
	rm -rf .venv runs
