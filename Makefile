# make repro        the whole pipeline on real data, the result printed; make alone does the same
# make test         lint, types and all tests
# make quick        lint, types and the tests that take a moment, for while you edit
# make lint         lint and types
#
# make own          the pipeline on your pictures: SOURCE="~/my photos" [AS=name] [SET="seed=2"]
# make undo         params.yaml and all results back as last committed; what was here is kept
#
# make compare      experiments side by side: [BASE=main] [NAMES="vgg16-adam codes-svm"]
# make report       runs beside main's, for a pull request, in report/: [BASE=main] [HEAD="a b"]
#                   [PICTURES=no], which shows none of the dataset
# make folds        every picture predicted by a model that didn't see it, the test set untouched:
#                   [K=5] [REPEATS=1] [FINE_TUNE=1]
# make gate         one word: is this better than BASE, no worse, worse? [BASE=main] [MARGIN=0.5]
#                   [SCORE=accuracy] [TEST=1] [ALLOW=unsure]
# make robustness   the model on noise, blur, JPEG and other corruptions of validation's pictures:
#                   robustness/ [PICTURES=100] [VIEWS=all] [TEST=1]
# make audit        labels that look wrong, copies, outliers, bad pictures, in audit/: [TEST=1], which
#                   looks at the test pictures alone
# make watch        the learning curves in the terminal, while dvc repro runs in another
# make page         the current run as one HTML file that fetches nothing: page/index.html
# make demo         a page here where a dropped photo gets its class and heat map: [PORT=8501]
# make export       the model in other formats, in export/: [FORMATS="saved_model tflite int8"]
# make probe        the depth at which features stop being general: where fine_tune_at should lie
# make lr           the learning rates of head and fine-tuning, each tried on the cache: lr/
#
# make recipes      the published systems: what they report, what was measured here
# make recipe       run one as an experiment: NAME=codes-svm [AS=mine] [SET="seed=2 batch_size=8"]
#
# make sweep        combinations of values as experiments, judged over seeds in one table:
#                   SET="fine_tune_at=54,100,134 seed=1,2,3" [JOBS=1] [TEST=1] [AS=name]; with
#                   `engine: ray`, on the nodes of a cluster
#
# make bench        plain Keras beside Thaw, and memory against size: [SOURCE=file:///…/pets.zip]
# make bench-quick  the same with few pictures, for a look
#
# make venv         .venv with the pinned packages, which all of these make first where they need it;
#                   for commands of your own: source .venv/bin/activate. For NVIDIA GPUs, once:
#                   [ACCELERATOR=cuda], which stays; ACCELERATOR=cpu goes back
# make venv-dev     .venv with what the tests need too
# make venv-demo    .venv with what the demo needs too
# make venv-cluster  .venv with Ray too, for `engine: ray`
# make lock         pin anew what the requirements*.in name
# make clean        remove .venv and the caches of ruff, mypy and pytest

.PHONY: repro test quick lint own undo compare report folds gate robustness audit watch page demo \
	export probe lr recipes recipe sweep bench bench-quick venv venv-dev venv-demo venv-cluster lock \
	clean help
.NOTPARALLEL: # two targets may want to install into .venv

# The variables above are taken from make's own command line alone: make brings some along (AS), and
# many an environment holds others (HEAD, NAME). Here they become words for the shell, in single
# quotes; nothing where they aren't given. `override` holds against `make -e`.
override define newline


endef
override quote = '$(subst ','\'',$(subst $(newline), ,$1))'
# As one word; after an option's name; as an option alone, but for 0; each of its words by itself,
# alone and after `--`.
override given = $(if $(filter command,$(origin $1)),$(if $(value $1),$(call quote,$(value $1))))
override option = $(if $(call given,$2),$1=$(call given,$2))
override flag = $(if $(filter-out '0' '',$(call given,$2)),$1)
override listed = $(if $(call given,$1),$(foreach word,$(value $1),$(call quote,$(word))))
override each = $(if $(call given,$1),-- $(call listed,$1))
override accelerator = $(call option,--accelerator,ACCELERATOR)

# No command sees these variables, make's own, or those that would send Python or pip elsewhere.
unexport ACCELERATOR ALLOW AS BASE FINE_TUNE FORMATS HEAD JOBS K MARGIN NAME NAMES PICTURES PORT REPEATS SCORE SET SOURCE TEST VIEWS
unexport MAKEFILES MAKEFLAGS MAKEOVERRIDES MFLAGS
unexport CDPATH PIP_PREFIX PIP_TARGET PIP_USER VIRTUAL_ENV
unexport PYTHONHOME PYTHONINSPECT PYTHONOPTIMIZE PYTHONPATH PYTHONSAFEPATH
override PATH := $(abspath .venv/bin):$(PATH)
export PATH

repro: venv
	@dvc repro
	@cat metrics/evaluation.md

test: lint
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# Of these folders, since others import TensorFlow, which takes five seconds by itself.
quick: lint
	pytest --numprocesses 2 -m "not slow" $(addprefix tests/,core datasets drawing evaluation files \
		pictures splitting)

lint: venv-dev
	ruff check .
	ruff format --check .
	mypy

own: venv
	@python src own $(call option,--name,AS) $(call option,--set,SET) \
		-- $(or $(call given,SOURCE),'')

undo: venv
	@python src undo

compare: venv
	@python src compare $(call option,--base,BASE) $(call each,NAMES)

# BASE and those of HEAD are Git revisions or DVC experiments; without HEAD, the workspace.
report: venv
	@python src report $(call option,--pictures,PICTURES) \
		-- $(or $(call given,BASE),main) $(call listed,HEAD)

folds: venv
	@dvc repro --quiet extract_features
	@python src folds $(call option,--k,K) $(call option,--repeats,REPEATS) \
		$(call flag,--fine-tune,FINE_TUNE)

# Of its exit codes make knows two: 0 and others.
gate: venv
	@python src gate $(call option,--base,BASE) $(call option,--margin,MARGIN) \
		$(call option,--score,SCORE) $(call flag,--test,TEST) $(call option,--allow,ALLOW)

robustness: venv
	@python src robustness $(call option,--pictures,PICTURES) $(call option,--views,VIEWS) \
		$(call flag,--test,TEST)

audit: venv
	@dvc repro --quiet extract_features
	@python src audit $(call flag,--test,TEST)

# Of an experiment that runs in a copy: python src watch --experiment
watch: venv
	@python src watch

page: venv
	@python src page

demo: venv-demo
	@python src demo $(call option,--port,PORT)

export: venv
	@python src export $(call each,FORMATS)

probe: venv
	@dvc repro --quiet split weights
	@python src probe

lr: venv
	@dvc repro --quiet train_head
	@python src lr

# The list needs a small part of requirements.txt.
recipes:
	@sh tools/venv.sh $(accelerator) requirements-recipes.txt
	@python src recipe

# As an experiment of the recipe's name, or of the name AS. SET holds parameters of one's own, in
# quotes where one has blanks: SET="source='/my pictures/pets.zip' batch_size=64"
recipe: venv
	@python src recipe $(call option,--name,AS) $(call option,--set,SET) \
		-- $(or $(call given,NAME),'')

sweep: venv
	@python src sweep $(call option,--name,AS) $(call option,--jobs,JOBS) $(call flag,--test,TEST) \
		$(call option,--set,SET)

bench: venv
	@python benchmarks/bench.py $(call option,--source,SOURCE)
	@python benchmarks/memory.py

bench-quick: venv
	@python benchmarks/bench.py --quick $(call option,--source,SOURCE)

venv:
	@sh tools/venv.sh $(accelerator) requirements.txt

venv-dev:
	@sh tools/venv.sh $(accelerator) requirements.txt requirements-dev.txt

venv-demo:
	@sh tools/venv.sh $(accelerator) requirements.txt requirements-demo.txt

venv-cluster:
	@sh tools/venv.sh $(accelerator) requirements.txt requirements-cluster.txt

lock: venv-dev
	pip install --quiet uv
	for name in requirements requirements-cuda requirements-recipes requirements-cluster \
			requirements-demo requirements-dev; do \
		case $$name in \
			*-cuda) without="--no-emit-package tensorflow-cpu --no-emit-package onnxruntime" ;; \
			*) without= ;; \
		esac; \
		uv pip compile --universal --python-version 3.11 --no-header --generate-hashes --quiet \
			$$without $$name.in -o $$name.txt || exit; \
	done
	python tools/pin_stages.py

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache

help:
	@sed -n '/^$$/q; s/^#[ ]*$$//p; s/^# //p' Makefile
