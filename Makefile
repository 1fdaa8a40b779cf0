# Each target works as the first command in a fresh clone: it makes .venv by itself, from the pinned and
# hashed files in requirements/, and needs only make and a Python >= 3.11 (`make PYTHON=...` names one).

BIN := .venv/bin
CODE := $(wildcard src tests examples benchmarks)
LOCK := $(BIN)/uv pip compile --quiet --no-config --system-certs --universal --python-version 3.11 --generate-hashes \
	--annotation-style line --custom-compile-command "make lock" $(LOCK_FLAGS)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-crash test-settlement test-rotation test-services bench bench-others simulate mutants sbom check docs format lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: .venv/demo.stamp ## Take a guided tour: charge, decline, refund, crash, recover
	@here=$$PWD; there=$$(mktemp -d) && trap 'rm -rf "$$there"' EXIT && cd "$$there" \
		&& "$$here/$(BIN)/payplatform" demo

# The tests of one class or file stay together: they share what they have started.
test: .venv/dev.stamp ## Run the tests (TESTS="tests/test_money.py -k yen" picks some)
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadscope $(TESTS)

test-crash: .venv/dev.stamp ## Kill processes, cut the power and fail disks at full length: some minutes
	PAYPLATFORM_CRASH=full $(BIN)/pytest tests/crash

test-settlement: .venv/dev.stamp ## Reconcile a report of 100,000 lines with planted faults: some minutes
	PAYPLATFORM_SETTLEMENT=full $(BIN)/pytest tests/client/test_large_reports.py

test-rotation: .venv/dev.stamp ## Rotate the keys of 10,000 cards with 50 kills while a shop sells: some minutes
	PAYPLATFORM_CRASH=full $(BIN)/pytest tests/crash/test_rotations_killed.py

test-services: .venv/dev.stamp ## Run the tests that need more than pip brings (apt install softhsm2 redis-server)
	$(BIN)/pytest tests/keys/pkcs11_on_softhsm.py tests/storage/limiter_on_redis.py

bench: .venv/dev.stamp ## Measure against raw floors (BENCH="--only charge --rounds 20 --json figures.json")
	$(BIN)/python -m benchmarks $(BENCH)

bench-others: .venv/dev.stamp ## Measure beside what else there is (BENCH="--only payplatform --only localstripe")
	$(BIN)/python -m benchmarks.others $(BENCH)

simulate: .venv/dev.stamp ## Play histories in which everything goes wrong (HISTORIES=20000 STORAGE=sqlite FACE=async SEED=7)
	$(BIN)/python -m payplatform.testing.simulate --histories $(or $(HISTORIES),2000) \
		--storage $(or $(STORAGE),memory) --face $(or $(FACE),blocking) $(if $(SEED),--seed $(SEED))

mutants: .venv/dev.stamp ## See that the simulator catches each planted defect
	$(BIN)/python -m payplatform.testing.simulate --mutants --seed $(or $(SEED),1) --histories 5000

sbom: .venv/dev.stamp ## Write sbom.cdx.json, the bill of materials (CycloneDX), and list the licences
	$(BIN)/python tools/sbom.py sbom.cdx.json

check: .venv/dev.stamp ## Check format, lint, types, architecture and docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(CODE)
	# Several conftest.py at once are one module too many for mypy: the nested ones one by one.
	for conftest in tests/*/conftest.py; do $(BIN)/mypy "$$conftest" || exit 1; done
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict

docs: .venv/dev.stamp ## Build the documentation into site/
	$(BIN)/mkdocs build --strict
	@echo "Open site/index.html"

format: .venv/dev.stamp ## Put the code in its format, and mend what can be mended by rule
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: .venv/lock.stamp ## Pin requirements/ anew from pyproject.toml (LOCK_FLAGS=--upgrade takes newer ones)
	$(LOCK) --group lock --output-file requirements/lock.txt
	$(LOCK) --all-extras --group build --group test --group check --group docs --group sbom \
		pyproject.toml --output-file requirements/dev.txt
	$(LOCK) --extra cli --group build --constraints requirements/dev.txt \
		pyproject.toml --output-file requirements/demo.txt

clean: ## Remove the environment and everything that was made
	rm -rf .venv .venv-bench site dist sbom.cdx.json .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(CODE) -type d -name __pycache__ -prune -exec rm -rf {} +

.venv/%.stamp: requirements/%.txt pyproject.toml tools/make-venv.sh
	tools/make-venv.sh $*
	@touch $@
