# The commands of the project. `make run` and `make test` install what they need, and say so first.
PYTHON ?= python3
# TORCH=cuda takes PyPI's build for NVIDIA GPUs (several GB) instead of the CPU build.
TORCH ?= cpu
V := .venv/bin
XVFB := xvfb-run -a -s "-screen 0 3840x2160x24"

.PHONY: run test trial lint bench screenshots lock clean

run:
	@$(PYTHON) packaging/install.py --for run --torch $(TORCH)
	@$(V)/python packaging/run.py

test:
	@$(PYTHON) packaging/install.py --for test
	@$(MAKE) --no-print-directory lint
	$(V)/python -m pytest tests

# The long tier: everything again with many more seeds and examples, and the benchmarks.
trial:
	@$(PYTHON) packaging/install.py --for test
	MEDSEARCH_TRIAL=1 $(V)/python -m pytest tests
	@MEDSEARCH_TRIAL=1 $(MAKE) --no-print-directory bench

lint:
	$(V)/ruff check .
	$(V)/ruff format --check .
	$(V)/mypy
	$(V)/lint-imports --no-cache

bench:
	@$(PYTHON) packaging/install.py --for test
	$(XVFB) $(V)/python tests/benchmarks

screenshots:
	@$(PYTHON) packaging/install.py --for test
	$(XVFB) $(V)/python packaging/screenshots.py screenshots
	mkdir -p docs/pictures
	cp screenshots/study-1920x1080.png screenshots/words-1366x768.png \
	  screenshots/favourites-1920x1080.png screenshots/drop-zones-1366x768.png docs/pictures/

# Writes the locks anew after a change of dependencies (needs uv).
lock:
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  --override requirements/overrides.txt --constraint requirements/exact.in \
	  requirements/torch.in pyproject.toml --extra demo -o requirements/run.lock
	uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	  --override requirements/overrides.txt --constraint requirements/exact.in \
	  --constraint requirements/run.lock requirements/torch.in pyproject.toml \
	  --extra demo --extra dev --extra research -o requirements/dev.lock

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .hypothesis screenshots
