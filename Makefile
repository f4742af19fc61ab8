# make demo: run everything on this machine, on a few sample files. make test: run all checks except `accuracy`, `chaos`, `test-launch`, `test-gpu`.
PYTHON ?= python3.11
VENV := .venv
UV := $(VENV)/uv/bin/uv
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)
IN_NAMESPACES := $(AS_ROOT) unshare --net --pid --mount --fork --kill-child --mount-proc
PROMETHEUS := .raysift/tools/prometheus
PROMTOOL := .raysift/tools/promtool
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
# if it is set, uv compiles no modules; compiled modules halve Ray's start time
unexport PYTHONDONTWRITEBYTECODE

# three processes for two cores, since many tests wait: each more imports and collects everything once more. All tests
# of a file run in the same process; files in the order of tests/conftest.py, the longest first
PARALLEL := -n 3 --dist loadfile --no-loadscope-reorder
# the tests on the session's cluster, and those that measure times: one after the other
ALONE := $(shell find tests -name 'test_*_on_cluster.py') tests/app/browser/test_gallery.py

.PHONY: demo test lint check test-ray test-launch test-gpu test-alerts accuracy chaos bench soak fix install install-dev debian texts pictures lock clean

demo: install
	$(VENV)/bin/raysift demo $(ARGS)

test: install-dev debian lint
	$(VENV)/bin/pytest $(PARALLEL) -m "not (alone or accuracy or launch or chaos or gpu)" --durations=8
	$(VENV)/bin/pytest $(ALONE) -m "alone and not (accuracy or chaos or gpu)" --durations=8

# formatting, lints, types, import contracts
lint: install-dev
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# lint, and the tests that need no cluster
check: lint
	$(VENV)/bin/pytest $(PARALLEL)

# a real cluster, real models, a real S3 server, Chroma and browser
test-ray: install-dev debian
	$(VENV)/bin/pytest $(PARALLEL) -m "ray and not (alone or accuracy or chaos)" --durations=8
	$(VENV)/bin/pytest $(ALONE) -m "alone and not (accuracy or chaos or gpu)" --durations=8

# compose.yaml's services and nginx on virtual machines made of namespaces, which need root; `make chaos` runs them too
test-launch: install-dev debian
	@test "$$(id -u)" = 0 || echo "namespaces need root: sudo asks for your password" >&2
	$(IN_NAMESPACES) $(VENV)/bin/pytest -m "launch and not chaos" tests/launch --durations=8

# the large models' architectures on this machine's NVIDIA GPU, with random weights
test-gpu: install-dev
	$(VENV)/bin/pytest -m gpu

# the alert rules, with Prometheus' own promtool
test-alerts: $(PROMETHEUS)
	$(PROMTOOL) check rules monitoring/alerts.yaml
	$(PROMTOOL) test rules monitoring/alerts_test.yaml
	$(PROMTOOL) check config monitoring/prometheus.yaml

# what the embedded detectors, and EasyOCR, find in labelled media
accuracy: install-dev
	$(VENV)/bin/pytest -n 2 --dist loadfile -m accuracy --durations=8

# what takes long by nature: faults on test clusters (results in docs/reliability.md), autoscaling, volumes, clusters
# other than the one that `make test` starts, and generated hostile input
chaos: install-dev debian $(PROMETHEUS)
	$(VENV)/bin/pytest -m "chaos and not launch" --durations=0
	$(IN_NAMESPACES) $(VENV)/bin/pytest -m launch tests/launch --durations=0

# a warm cluster against plain loops and other engines, which it installs into .raysift/bench; some 30 minutes, on a
# machine that does nothing else. It writes docs/performance.md
bench: install-dev
	$(VENV)/bin/python -m bench

# scans, uploads, browsing and searches at the same time: latency by route, availability, memory of each kind of process
SECONDS ?= 3600
soak: install-dev
	$(VENV)/bin/python -m bench.soak --seconds $(SECONDS)

fix: install-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Raysift needs Python 3.11 as $(PYTHON): install it, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(UV) || $(PYTHON) -m venv $(VENV)/uv || { echo "Raysift needs Python's venv module (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@test -x $(UV) || $(VENV)/uv/bin/pip install -q uv==0.13.9
	@test -x $(VENV)/bin/python || $(UV) venv -q --allow-existing --python $(PYTHON) $(VENV)
	@echo "installing the packages of requirements.lock (8.6 GB the first time)"
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --require-hashes -r requirements.lock
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --require-hashes -r requirements-dev.lock
	@touch $@

# from the distribution: the browser of the app's tests, and servers and programs that users have
DEBIAN := chromium fonts-dejavu-core redis-server nginx-light docker-compose rsync openssh-client dropbear-bin iproute2 curl
debian:
	@dpkg -s $(DEBIAN) >/dev/null 2>&1 || { \
	  $(AS_ROOT) apt-get update -qq && $(AS_ROOT) apt-get install -y -qq --no-install-recommends $(DEBIAN); \
	} >/dev/null || { echo "the tests need $(DEBIAN): apt-get install $(DEBIAN)" >&2; exit 1; }

# taken out of Debian's package, since its installation would start a server. .raysift is the default state_dir, which is
# for its owner only
$(PROMETHEUS):
	@rm -rf $(@D)/package && umask 077 && mkdir -p $(@D)/package
	@cd $(@D)/package && { apt-get download -qq prometheus 2>/dev/null || { \
	  $(AS_ROOT) apt-get update -qq && apt-get download -qq prometheus; }; } >/dev/null \
	  || { echo "the tests need Debian's package prometheus, or the programs prometheus and promtool in $(@D)" >&2; exit 1; }
	@dpkg -x $(@D)/package/prometheus_*.deb $(@D)/package
	@mv $(@D)/package/usr/bin/promtool $(@D)/package/usr/bin/prometheus $(@D)
	@rm -r $(@D)/package

# the catalogues of the app's texts: new texts come without a translation, those that are gone go
texts: install-dev
	$(VENV)/bin/python -m tests.app.language.texts

# the pictures of the app's pages in docs/pictures/pages, of harmless files: `make test` fails if a page has changed since
pictures: install-dev debian
	$(VENV)/bin/python -m tests.app.browser.pages.pictures

# run it after changing the dependencies in pyproject.toml
lock: install
	$(UV) pip compile -q --python 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	$(UV) pip compile -q --python 3.11 --generate-hashes --no-header --no-annotate --group dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .raysift build *.egg-info
