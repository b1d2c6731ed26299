# A thin front for meson: every target a newcomer needs, by the names the README gives.
#
#   make              build/gander, the libraries and the examples
#   make demo         install what is missing, build, watch a live Go service
#   make check        everything that gates a change, < 15 minutes on two cores
#   make help         the rest
BUILD ?= build
JOBS  ?= $(shell nproc)
NINJA  = ninja -j $(JOBS)

# A Go that tools/setup had to fetch is preferred to one that is too old.
export PATH := $(CURDIR)/build/go/bin:$(PATH)
export GOTOOLCHAIN ?= local

.PHONY: torture torture-long mutants all help deps demo check check-versions check-asan check-tsan check-real bench fuzz fmt lint install clean

all: $(BUILD)/build.ninja
	@$(NINJA) -C $(BUILD)
	@ln -sf src/cli/gander $(BUILD)/gander
	@tools/make-goproxy $(BUILD)/goproxy >/dev/null
	@tools/build-go $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD) >/dev/null || { meson setup $(BUILD); exit 1; }

help:
	@sed -n 's/^# *make/make/p' Makefile
	@echo 'make deps            install the Debian packages of tools/packages.txt that are missing'
	@echo 'make check-versions  the Go agent under every Go from 1.21 on, traces of every Go from 1.11 on, planted causes'
	@echo 'make check-asan      all tests with address and undefined-behaviour sanitizers'
	@echo 'make check-tsan      the unit tests with the thread sanitizer'
	@echo 'make check-real      real programs under load for ten minutes each'
	@echo 'make torture         programs that try to break it, the models and the kills, the long way (hours)'
	@echo 'make mutants         the source with one thing left out: each must be noticed'
	@echo 'make bench           measure, and rewrite the table in docs/performance.md'
	@echo 'make fuzz            libFuzzer on every parser, FUZZ_SECONDS each (default 60)'
	@echo 'make fmt, make lint  clang-format and gofmt; shellcheck, codespell, banned functions'
	@echo 'make install         DESTDIR and PREFIX are honoured'

deps:
	@tools/setup

demo: deps
	@$(MAKE) --no-print-directory all
	@tools/demo $(BUILD)

check: deps
	@tools/check $(BUILD)

check-versions: all
	@tools/check-versions
	@GANDER_TEST_VERSIONS=1 python3 tests/gotrace/reference.py $(BUILD)/src/cli/gander
	@GANDER_TEST_VERSIONS=1 python3 tests/gotrace/cut.py $(BUILD)/src/cli/gander
	@GANDER_TEST_VERSIONS=1 python3 tests/why/causes.py $(BUILD)/src/cli/gander $(BUILD)/tests/why/causes $(BUILD)/tests/gotrace/why-sums
	@GANDER_TEST_VERSIONS=1 python3 tests/why/recording.py $(BUILD)/src/cli/gander $(BUILD)/tests/why/recording
	@GANDER_TEST_VERSIONS=1 python3 tests/reader/readers.py $(BUILD)

check-asan: deps
	@tools/build-san address $(BUILD)-asan
	@tools/run-tests --build $(BUILD)-asan

check-tsan: deps
	@tools/build-san thread $(BUILD)-tsan
	@TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp tools/run-tests --build $(BUILD)-tsan --suite unit

check-real: deps all
	@REAL_SECONDS=$${REAL_SECONDS:-600} tools/run-tests --build $(BUILD) --suite real

torture torture-long: deps all
	@tests/torture/run $(BUILD) --long
	@tests/torture/scarcity $(BUILD) --long
	@tests/torture/deaths $(BUILD) --long
	@tests/torture/lttng $(BUILD)
	@tests/model/run --long
	@GANDER_HOSTILE_LONG=1 tools/run-tests --build $(BUILD) --suite hostile

mutants: deps all
	@tools/mutants $(BUILD)

bench: deps all
	@bench/run $(BUILD)

fuzz: deps
	@tools/fuzz $(BUILD)-fuzz

fmt:
	@tools/fmt

lint:
	@tools/lint

install: all
	@$(if $(PREFIX),meson configure $(BUILD) --prefix '$(abspath $(PREFIX))' && $(NINJA) -C $(BUILD) >/dev/null)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

clean:
	rm -rf build build-*
