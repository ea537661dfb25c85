.PHONY: help check fix test test-ambient coverage test-slow chaos fuzz bench bench-quick soak realism strips audit docs wheel demo
help:       ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'
check:      ## what every commit must pass: format, lint, types, tests
	ruff format --check .
	ruff check .
	mypy
	python -m pytest -q
fix:        ## format and repair what can be repaired by itself
	ruff check --fix .
	ruff format .
test:       ## the default tests
	python -m pytest -q
test-ambient: ## the tests again, with proxies, rc files, locale, TZ, COLUMNS … that should change nothing
	sh .ci/ambient
coverage:   ## branch coverage of ctgkit/ by the default tests, with asyncio's debug mode, and by the processes they start; 90 % at least
	rm -rf .coverage && mkdir .coverage
	-CTGKIT_TEST_LOOP_DEBUG=1 python -m coverage run -m pytest -q
	python -m coverage combine -q .coverage
	python -m coverage report --sort=cover
test-slow:  ## soak, long loops, all recordings
	python -m pytest -q -m 'slow and not chaos'
chaos:      ## processes killed 50 times, starved, flooded, frozen (one at a time: it measures)
	python -m pytest -q -n 0 -m '' tests/chaos
FUZZ_SECONDS ?= 300
FUZZ_FILES ?= 100000
fuzz:       ## new random inputs: FUZZ_SECONDS (300) for each fuzz test, FUZZ_FILES (100000) files of others, then all Hypothesis tests
	CTGKIT_FUZZ_SECONDS=$(FUZZ_SECONDS) python -m pytest -q -n 0 tests/fuzz
	CTGKIT_HYPOTHESIS=random CTGKIT_FILE_EXAMPLES=$(FUZZ_FILES) python -m pytest -q -n 0 tests/recording/files/test_foreign.py
	CTGKIT_HYPOTHESIS=random python -m pytest -q
bench:      ## ratios against floors measured in the same run
	python -m benchmarks
bench-quick: ## did anything become much slower? five ratios against benchmarks/kept.json, in a minute
	python -m benchmarks.guard
soak:       ## 30 minutes, 500 sensors, disturbed throughout: nothing lost, nothing grows? writes soak.{json,png}
	python -m benchmarks.soak
realism:    ## can a classifier tell our cohort from real recordings? (skips without them)
	python -m benchmarks.realism
strips:     ## draw docs/scenarios/*.png and docs/scenarios.md (needs matplotlib)
	python docs/make_strips.py
docs:       ## build the documentation as a site in ./site, warnings are errors (needs the docs extra)
	python docs/build_site.py
wheel:      ## build and check sdist and wheel, try the wheel in each Python from 3.11 that is here
	bash .ci/wheel
audit:      ## known holes in the packages we depend on (asks the package index)
	d=$$(mktemp -d) && trap 'rm -rf "$$d"' EXIT && python -m venv $$d/ours && python -m venv $$d/tool && \
	$$d/ours/bin/pip install -q '.[fast,paper,wfdb,edf,parquet,excel,testing]' && \
	$$d/ours/bin/pip uninstall -q -y ctgkit && $$d/tool/bin/pip install -q pip-audit && \
	$$d/tool/bin/pip-audit --strict --path $$(echo $$d/ours/lib/python3*/site-packages)
demo:       ## everything at once, with a live view
	python -m ctgkit demo
