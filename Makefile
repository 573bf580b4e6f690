# make ablation      train the short chained-pooling table on the built-in data set and print it
# make test          lint, then the test suite
# make test-lowest   the fast tests with the lowest versions that setup.cfg allows, in an environment of its own (7 GB)
# make install       only the environment

PYTHON ?= python3
BIN := .venv/bin
# The tests of data, networks, training, scores and export; the others need a server, a browser or more time.
FAST := ade20k architecture blocks boundary cache camvid cityscapes cli confusion damaged_files data_command describe dropout \
	encoders export finding folder image_files inference labels legend loss network nyud official pascal_context person_part \
	pictures recipes sampling scenes scores sunrgbd task tiles transforms voc

.PHONY: install ablation test test-lowest

install: .venv/installed

.venv/installed: requirements.txt setup.cfg
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	# W&B's schema of sweeps, for a test; what the package wants besides is older than ours
	$(BIN)/pip install --quiet --no-deps sweeps==0.3.0
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

ablation: install
	$(BIN)/refinenet ablate run chained_pooling --on scenes --seeds 3 --slots 2 \
		--cells no_unit no_pooling pool_conv_1 pool_conv_2 pool_conv_3 pool_conv_4 conv_pool_4

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest --numprocesses 2 --dist worksteal

test-lowest: .lowest/installed
	.lowest/bin/pytest --numprocesses 2 --dist worksteal $(FAST:%=tests/test_%.py)

.lowest/installed: setup.cfg
	$(PYTHON) -m venv --clear .lowest
	echo '*' > .lowest/.gitignore
	.lowest/bin/pip install --quiet uv==0.13.9
	.lowest/bin/uv pip install --quiet --python .lowest/bin/python --resolution lowest-direct --editable '.[export,test]'
	touch $@
