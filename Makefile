# Every command of the course. `make` alone lists them.
# GNU make 3.81 (macOS) or later; paths stay relative, so a folder with spaces in its name works.

PYTHON ?= python3
PORT ?= 8000
# Empty (`make test CONSTRAINTS=`) installs the newest versions that requirements.txt allows.
CONSTRAINTS ?= constraints.txt
# Those of `make test-pythons`.
PYTHONS ?= 3.10 3.11 3.12 3.13

VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
STAMP := $(VENV)/installed
CLUSTER := $(VENV)/cluster-installed
LINT := $(VENV)/lint-installed
HTML := _build/html

PIP_DISABLE_PIP_VERSION_CHECK ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK

.DEFAULT_GOAL := help
.PHONY: help install book cards pdf serve test test-fast test-faults test-pythons coverage results seal \
  notebooks notebooks-export claim bench check lint audit sphinx lock clean

help:  ## list these commands
	@echo 'Convolution, Tested: what you can do here'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 20
	@echo
	@echo 'Whatever needs the environment makes it first, in $(VENV), with Python 3.10 to 3.13 (PYTHON=python3.12 names one).'

# The environment is as new as this file; a change of what it is made from makes it anew.
$(STAMP): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "This course needs Python 3.10 to 3.13; '$(PYTHON)' is" \
	    "$$($(PYTHON) -c 'import platform; print(platform.python_version())' 2>/dev/null || echo 'not there')." \
	    "Name another one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import platform, sys; sys.exit((platform.system(), platform.machine()) == ("Darwin", "x86_64"))' || { \
	  echo "TensorFlow has no wheel for Macs with Intel processors, so the course cannot be installed here." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements.txt $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
	@touch $@

# Dask, for what trains on a cluster: the tests do, and results with SCHEDULER=...
$(CLUSTER): $(STAMP) requirements-cluster.txt
	$(RUN) -m pip install --quiet -r requirements-cluster.txt $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
	@touch $@

# What looks at the style: nobody who only reads or runs the course needs it.
$(LINT): $(STAMP) requirements-lint.txt
	$(RUN) -m pip install --quiet -r requirements-lint.txt $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
	@touch $@

install: $(STAMP)  ## make the environment, and nothing else

book: $(STAMP)  ## build the book from the committed outputs
	$(RUN) -m utils.commands.book

cards: $(STAMP)  ## draw the picture of each chapter that a link to it shows, with Chromium or Chrome
	$(RUN) -m utils.commands.cards

pdf: $(STAMP)  ## print the whole book into _build/pdf, with Chromium or Chrome
	$(RUN) -m utils.commands.pdf

serve:  ## show the built book on http://127.0.0.1:8000 (PORT=...)
	@test -f $(HTML)/index.html || { echo "There is no built book yet: run 'make book' first." >&2; exit 1; }
	@echo 'The book is at http://127.0.0.1:$(PORT)/ (Ctrl-C stops it)'
	@$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory $(HTML)

# What `make test`, `test-fast` and `coverage` add to every seed of quick runs.
SEED ?= $(MNIST_SEED)
test test-fast coverage: export MNIST_SEED := $(SEED)

# Two test files or notebooks at a time, each whole.
test: $(CLUSTER)  ## run every test and every notebook, at quick scale (with other seeds: SEED=n)
	$(RUN) -m pytest -n 2 --no-loadscope-reorder --durations=10 -m "not fault"

test-faults: $(CLUSTER)  ## break the course in many ways, one by one, and see that its tests tell
	$(RUN) -m pytest tests/faults

test-fast: $(STAMP)  ## run the tests that need no notebook, no browser, no cluster and no long training
	$(RUN) -m pytest -n 2 --no-loadscope-reorder tests -m "not (browser or cluster or fault or kernel or training)"

coverage: $(CLUSTER)  ## run every test and notebook, and print how much of utils that runs (some: TESTS=path)
	$(RUN) -m coverage erase
	status=0; $(RUN) -m coverage run -m pytest -n 2 --no-loadscope-reorder -m "not fault" $(TESTS) || status=$$?; \
	  $(RUN) -m coverage combine --quiet && $(RUN) -m coverage report && exit $$status

results: $(if $(SCHEDULER),$(CLUSTER),$(STAMP))  ## train the recorded runs on 60,000 images; resumes (one claim: CLAIM=id, runs at a time: JOBS=n, on a cluster: SCHEDULER=address; only say what: PLAN=1)
	$(RUN) -m utils.commands.notebooks $(if $(CLAIM),--claim $(CLAIM)) $(if $(JOBS),--jobs $(JOBS)) $(if $(SCHEDULER),--scheduler $(SCHEDULER)) $(if $(PLAN),--plan)

seal: $(STAMP)  ## seal recorded runs, and how they are judged, that came by a merge
	$(RUN) -m utils.commands.seal

notebooks: $(STAMP)  ## run the notebooks at quick scale and store their outputs (one: NOTEBOOK=path)
	$(RUN) -m utils.commands.notebooks --store $(NOTEBOOK)

claim: $(STAMP)  ## begin a claim of your own: its entry in the ledger, a notebook and a test (NAME=my-claim)
	$(RUN) -m utils.commands.claim $(if $(NAME),-- '$(NAME)')

# The builder of the book writes them: it has resolved numbers, terms, citations and links.
notebooks-export: $(STAMP)  ## write the notebooks in plain Markdown, with solutions and for students, into _build/notebooks
	$(RUN) -m utils.commands.export

# Environments of their own, made by uv, which finds each Python (pyenv's too) or downloads it.
test-pythons: $(STAMP)  ## take the pinned fingerprints in every Python that the course supports
	$(RUN) -m pip install --quiet uv
	for version in $(PYTHONS); do \
	  $(RUN) -m uv venv --quiet --allow-existing --python $$version .venv-$$version && \
	  $(RUN) -m uv pip install --quiet --python .venv-$$version/bin/python -r requirements.txt \
	    $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) || exit 1; \
	done
	$(RUN) -m pytest tests/test_fingerprint.py -k pinned

bench: $(STAMP)  ## measure the speed of the parts that take time
	$(RUN) tests/bench.py

check: $(STAMP)  ## say whether this machine has what the course needs
	@$(RUN) -m utils.commands.check

# The same in a commit, after `.venv/bin/pre-commit install`.
lint: $(LINT)  ## check style, spelling and workflows (.pre-commit-config.yaml)
	$(RUN) -m pre_commit run --all-files --show-diff-on-failure

# In an environment of its own, and --strict: a package that PyPI is not asked about, or does not know,
# would be passed over, and with no way to PyPI all of them are.
audit:  ## ask PyPI whether a version in constraints.txt has a known weakness
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet 'pip-audit>=2.10,<3'
	.venv-audit/bin/python -m pip_audit --strict --progress-spinner off --disable-pip --no-deps -r constraints.txt

# The way out, should Jupyter Book 1 end.
sphinx: $(STAMP)  ## rehearse building the book with Sphinx alone, in _build/sphinx
	$(RUN) -m utils.commands.book --plain

lock: $(STAMP)  ## renew constraints.txt from pyproject.toml and the requirements
	$(RUN) -m pip install --quiet uv
	$(RUN) -m uv pip compile requirements.txt requirements-cluster.txt requirements-lint.txt \
	  --universal --python-version 3.10 --upgrade \
	  --no-emit-package convolution-tested --no-header --no-annotate -o constraints.txt

clean:  ## remove the built book and the caches (the environment stays)
	rm -rf _build .pytest_cache .hypothesis .ruff_cache .coverage .coverage.*
	find . -path ./$(VENV) -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +
