# make ablation      train the short chained-pooling table on the built-in dataset and print it
# make lint          run ruff, mypy and codespell
# make test          run the linters, then the fast and the integration tests
# make test-slow     run the other tests: kills, Slurm, servers, a browser, compilation, export, notebooks
# make test-lowest   run the fast tests with the lowest versions that setup.cfg allows, in a separate environment (7 GB)
# make docs          build the documentation site into site/, without warnings
# make pages         write the generated parts of README.md and docs/, and the figures, from the records
# make install       create the environment only

PYTHON ?= python3
BIN := .venv/bin
# Not worksteal, with which a run can wait forever for its last tests (pytest-dev/pytest-xdist#884).
PYTEST := pytest --numprocesses 2 --dist load
# Two processes of two threads each on two cores are several times as slow.
test test-slow test-lowest: export OMP_NUM_THREADS := 1

.PHONY: install ablation lint test test-slow test-lowest docs pages

install: .venv/installed

.venv/installed: requirements.txt setup.cfg
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	# W&B's sweep schema, for a test; --no-deps because the package pins older versions of our dependencies
	$(BIN)/pip install --quiet --no-deps sweeps==0.3.0
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

ablation: install
	$(BIN)/refinenet ablate run chained_pooling --on scenes --seeds 3 --slots 2 \
		--cells no_unit no_pooling pool_conv_1 pool_conv_2 pool_conv_3 pool_conv_4 conv_pool_4

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

# PYTEST_ARGS is for more options, such as PYTEST_ARGS=--cov=refinenet_pl
test: lint
	$(BIN)/$(PYTEST) -m "not slow" $(PYTEST_ARGS)

# PART=2/3 runs every third of them, from the second on
PART ?= 1/1
test-slow: install
	$(BIN)/$(PYTEST) -m slow --part $(PART) $(PYTEST_ARGS)

test-lowest: .lowest/installed
	.lowest/bin/$(PYTEST) -m "not slow and not integration"

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pages: install
	$(BIN)/refinenet claims
	$(BIN)/cog -r -P -I . -p "from docs import speed, tables" --verbosity 1 README.md docs/*.md
	$(BIN)/python docs/figures.py

.lowest/installed: setup.cfg
	$(PYTHON) -m venv --clear .lowest
	echo '*' > .lowest/.gitignore
	.lowest/bin/pip install --quiet uv==0.13.9
	.lowest/bin/uv pip install --quiet --python .lowest/bin/python --resolution lowest-direct --editable '.[export,test]'
	touch $@
