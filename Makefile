# make ablation   train the short chained-pooling table on the built-in data set and print it
# make test       lint, then the test suite
# make install    only the environment

PYTHON ?= python3
BIN := .venv/bin

.PHONY: install ablation test

install: .venv/installed

.venv/installed: requirements.txt setup.cfg
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	# W&B's schema of sweeps, for a test; what the package wants besides is older than ours
	$(BIN)/pip install --quiet --no-deps sweeps==0.3.0
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

ablation: install
	$(BIN)/python experiments/ablate.py run chained_pooling --on scenes --seeds 3 --slots 2 \
		--cells no_unit no_pooling pool_conv_1 pool_conv_2 pool_conv_3 pool_conv_4 conv_pool_4

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest --numprocesses 2 --dist worksteal
