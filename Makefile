# make run      install what is missing, build, and run the demonstration: a baseline and a CRaFT run, side by side
# make test     install what is missing, build, and run all tests
# make test-python  the tests of python/ alone, on the build as it is
# make build    the release build: .build/release/craft and the plugins beside it
# make format   format the Swift sources in place
# make lint     check that they are formatted, and that what plugin authors call is documented
# make bench    a training step of craft and of PyTorch, timed in turns (bench/README.md)
# make campaign fuzz every reader of foreign files with libFuzzer and AddressSanitizer, for two hours (scripts/campaign.sh)
# make faults   kill craft at random moments and fail its writes, one after the other, for hours (scripts/faults/campaign.py)
# make clean    remove builds and Python environments

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
.PHONY: run test test-python build format lint bench campaign faults clean

SWIFT_SOURCES := Package.swift Plugins Sources Tests
DOCUMENTED := Sources/PluginKit Sources/GradientMath

run: build
	.build/release/craft demo

build:
	scripts/install.sh
	swift build -c release

test:
	scripts/install.sh --tests
	swift build -c release --build-tests
	swift test -c release --disable-xctest --skip-build
	$(MAKE) --no-print-directory test-python

# Of the build as it is.
test-python:
	cd python && PYTHONPATH=src OMP_NUM_THREADS=1 ../.venv/bin/python -m pytest

format:
	swift format --in-place --recursive $(SWIFT_SOURCES)

lint:
	swift format lint --strict --recursive $(SWIFT_SOURCES)
	swift format lint --strict --configuration scripts/documented.swift-format --recursive $(DOCUMENTED)

bench: build .venv-bench/requirements.txt
	.venv-bench/bin/python bench/interleaved.py

.venv-bench/requirements.txt: bench/requirements.txt
	python3 -m venv --clear .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	cp $< $@

campaign:
	scripts/campaign.sh

faults: build
	python3 scripts/faults/campaign.py kills
	python3 scripts/faults/campaign.py writes

clean:
	rm -rf .build .build-fuzz .build-faults .venv .venv-bench
