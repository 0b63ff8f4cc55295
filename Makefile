# Every target first makes what it needs: .venv with the pinned requirements, and the native library in place.
# What is up to date is left alone. Examples: make test TESTS="tests/house/test_build.py -x", make PYTHON=python3.12 demo

PYTHON ?= python3
TESTS ?= tests
CXX ?= g++
BIN := .venv/bin
# Bytecode is made of what is imported, where it is: of all that is installed it would take half of the time.
INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile
NATIVE := $(wildcard csrc/*.cpp csrc/*/*.* csrc/*/*/*.* emulation/*.*)
# Of processes that share the cores: a thread each; those of tests that ask for more leave the cores while they wait.
SIDE_BY_SIDE := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
SANITIZED := build/sanitized
EMULATED := build/emulated
WATCHED := build/watched
CLEAN := build/clean

.DEFAULT_GOAL := build
.PHONY: build test demo reproduce bench bench-sparse lint format sanitize emulate races gpu gpu-short gpu-report gpu-dry
.PHONY: docs wheel wheel-test clean

build: .venv/package.stamp
	@$(BIN)/python setup.py --quiet build_ext --inplace

# A process for each core.
test: build
	$(SIDE_BY_SIDE) $(BIN)/pytest -n auto --dist loadscope $(TESTS)

demo: build
	$(BIN)/python -m experiments demo

# Trains some two thousand networks, which takes 20 to 25 minutes on two cores, and rewrites experiments/RESULTS.md. If it
# was stopped, it goes on; `rm -r runs/reproduce` makes it start over.
reproduce: build
	$(BIN)/python -m experiments reproduce

bench: build
	$(BIN)/python -m benchmarks

# Sparse graphs up to 139,000 units: on the largest, autograd of a peer takes 20 GB.
bench-sparse: build
	$(BIN)/python -m benchmarks.sparse

# The site, in build/docs/html: every code cell of every page is executed, and a warning is an error. The source is the
# whole tree, so that pages beside the code are on it too.
docs: build .venv/docs.stamp
	$(SIDE_BY_SIDE) $(BIN)/python -m sphinx --quiet -c docs -E -j auto -W --keep-going -n -d build/docs/doctrees . build/docs/html

lint: .venv/requirements.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)

format: .venv/requirements.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(NATIVE)

# A build of its own under AddressSanitizer and UBSan. Leaks are not looked for: the interpreter and PyTorch keep much of
# their memory until the process ends.
sanitize: export RRNN_SANITIZE := 1
sanitize: .venv/requirements.stamp
	$(BIN)/python setup.py --quiet build --build-lib $(SANITIZED)
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	$(BIN)/pytest -p no:cacheprovider -o pythonpath="$(SANITIZED) ." -m native tests

# A build of its own whose ops on the CPU are the CUDA kernels, executed by emulation/.
emulate: export RRNN_EMULATE := 1
emulate: .venv/requirements.stamp
	$(BIN)/python setup.py --quiet build --build-lib $(EMULATED)
	$(SIDE_BY_SIDE) $(BIN)/pytest -p no:cacheprovider -o pythonpath="$(EMULATED) ." -m emulated -n auto tests

# The same, with every access to memory watched: no two threads of a kernel may race.
races: export RRNN_EMULATE := races
races: .venv/requirements.stamp
	$(BIN)/python setup.py --quiet build --build-lib $(WATCHED)
	$(SIDE_BY_SIDE) $(BIN)/pytest -p no:cacheprovider -o pythonpath="$(WATCHED) ." tests/ops/test_races.py

# On a machine with a GPU, with $(PYTHON), its PyTorch and its packages as they are, as it is the machine that decides which
# PyTorch fits. benchmarks/gpu/run.sh has the steps and says what they are; OUT gets what comes of them. gpu-short takes
# eight minutes at most, gpu as long as everything takes. Examples: make gpu PYTHON=python3.12, make gpu-short OUT=found,
# make gpu STEPS="build tests", and then, on any machine, make gpu-report OUT=found
OUT ?= build/gpu
gpu: export LIMIT := 36000
gpu: export PATIENCE := 20
gpu:
	@PYTHON=$(PYTHON) benchmarks/gpu/run.sh $(OUT) $(STEPS); ended=$$?; $(MAKE) gpu-report && exit $$ended

gpu-short:
	@PYTHON=$(PYTHON) benchmarks/gpu/run.sh $(OUT) $(STEPS)

gpu-report:
	@$(PYTHON) -m benchmarks.gpu.report $(OUT)

# All of it without a GPU, on the emulated kernels: what the machine with one is to run must run.
gpu-dry: export EMULATED := 1
gpu-dry: export PATIENCE := 4
gpu-dry: .venv/requirements.stamp
	@rm -rf build/gpu-dry
	@PYTHON=$(BIN)/python benchmarks/gpu/run.sh build/gpu-dry
	@$(BIN)/python -m benchmarks.gpu.report build/gpu-dry

# A release: the sdist, and of it a wheel for this Python, whose tag says which Linux it runs on.
wheel: .venv/requirements.stamp
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	PATH="$(CURDIR)/$(BIN):$$PATH" .ci/repair-wheel dist dist/*-linux_*.whl
	rm dist/*-linux_*.whl

# The wheel in an environment without the sources.
wheel-test: wheel
	rm -rf $(CLEAN)
	$(BIN)/python -m venv $(CLEAN)
	$(CLEAN)/bin/python $(INSTALL) -r requirements-dev.txt dist/*.whl
	cp -r tests pyproject.toml $(CLEAN)
	cd $(CLEAN) && bin/pytest -p no:cacheprovider tests/functional/test_known_answers.py

clean:
	rm -rf .venv build dist *.egg-info rrnn_ext/*.so .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/requirements.stamp: requirements-dev.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; run: apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else "rrnn_ext needs Python 3.10 or newer, got " \
		+ sys.version.split()[0] + "; run: make PYTHON=python3.NN")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv module is not installed; run: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python $(INSTALL) -r requirements-dev.txt
	@touch $@

# Of cect the data alone is read, so that nothing that it needs is needed.
.venv/docs.stamp: .venv/requirements.stamp docs/requirements.txt
	$(BIN)/python $(INSTALL) -r docs/requirements.txt
	$(BIN)/python $(INSTALL) --no-deps cect==0.3.5
	@touch $@

# Built in place before the package is installed, so that what the compiler says is shown as it is.
.venv/package.stamp: .venv/requirements.stamp pyproject.toml
	$(BIN)/python setup.py --quiet build_ext --inplace
	$(BIN)/python $(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $@
