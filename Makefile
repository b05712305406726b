# make repro   the whole pipeline on real data, the result printed
# make test    lint, types and tests
# make recipes lists the published systems; make recipe NAME=vgg16-adam [SET="…"] [AS=…] runs one
# make probe   the depth at which features stop being general: where fine_tune_at should lie
# make report  this folder beside another revision or experiment, for a pull request: report/
# make watch   the learning curves in the terminal while dvc repro runs in another
# make page    the current run as one HTML file that fetches nothing: page/index.html
# make demo    a page on this machine where a dropped photo gets its class and heat map
# make export  the model as SavedModel, LiteRT and 8-bit LiteRT, compared: export/
# make bench   plain Keras beside Thaw, and memory against size; make bench-quick for a look
# All make .venv from the pinned requirements first. Then: source .venv/bin/activate

BASE ?= main
HEAD ?= workspace
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

.PHONY: repro test recipes recipe probe report watch page demo export bench bench-quick venv venv-demo venv-dev lock clean

repro: venv
	@dvc repro
	@cat metrics/evaluation.md

test: venv-dev
	ruff check .
	ruff format --check .
	mypy
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

recipes: venv
	@python src/recipe.py

# As a DVC experiment of that name, or of the name AS. Parameters of one's own go into SET:
# make recipe NAME=vgg16-adam SET="source=file:///…/cats_and_dogs_filtered.zip batch_size=64"
recipe: venv
	@python src/recipe.py $(if $(AS),--name "$(AS)") "$(NAME)" $(SET)

probe: venv
	@dvc repro --quiet split weights
	@python src/probe.py

# BASE and HEAD are Git revisions or DVC experiments; without HEAD, the workspace:
# make report BASE=main HEAD=vgg16-adam
report: venv
	@python src/report.py "$(BASE)" "$(HEAD)"

# Of an experiment that runs in a copy: python src/watch.py --experiment
watch: venv
	@python src/watch.py

page: venv
	@python src/page.py

# make export FORMATS="saved_model tflite int8", which are all, or some of them
export: venv
	@python src/export.py $(FORMATS)

demo: venv-demo
	@python src/demo.py $(if $(PORT),--port "$(PORT)")

# Where the pictures are out of reach: make bench SOURCE=file:///…/cats_and_dogs_filtered.zip
pictures = $(if $(SOURCE),--source "$(SOURCE)")

bench: venv
	@python benchmarks/bench.py $(pictures)
	@python benchmarks/memory.py

bench-quick: venv
	@python benchmarks/bench.py --quick $(pictures)

venv:
	@sh tools/venv.sh requirements.txt

venv-dev:
	@sh tools/venv.sh requirements.txt requirements-dev.txt

venv-demo:
	@sh tools/venv.sh requirements.txt requirements-demo.txt

# Pin anew what requirements.in, requirements-demo.in and requirements-dev.in name.
lock: venv-dev
	pip install --quiet uv
	for name in requirements requirements-demo requirements-dev; do \
		uv pip compile --universal --python-version 3.11 --no-header --quiet $$name.in -o $$name.txt || exit; \
	done

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache
