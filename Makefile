# make repro   the whole pipeline on real data, the result printed
# make test    lint, types and tests
# Both make .venv from the pinned requirements first. Then: source .venv/bin/activate

BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

.PHONY: repro test venv venv-dev lock clean

repro: venv
	@dvc repro
	@cat metrics/evaluation.md

test: venv-dev
	ruff check .
	ruff format --check .
	mypy
	pytest

venv:
	@sh tools/venv.sh requirements.txt

venv-dev:
	@sh tools/venv.sh requirements.txt requirements-dev.txt

# Pin anew what requirements.in and requirements-dev.in name.
lock: venv-dev
	pip install --quiet uv
	uv pip compile --universal --python-version 3.11 --no-header --quiet requirements.in -o requirements.txt
	uv pip compile --universal --python-version 3.11 --no-header --quiet requirements-dev.in -o requirements-dev.txt

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
