# The short way to everything. `make demo` and `make test` need only make, a POSIX shell and the
# right to install packages; the build itself is CMake's.
PREFIX ?= /usr/local
MICA_TEST_DATA ?=
JOBS ?=
RELEASE = build/release
TEST = build/test
PROMPT = Count from 3 to 9.
FUZZ_SECONDS ?= 30

generator = -G Ninja
jobs = $(if $(JOBS),-j $(JOBS))

.PHONY: all demo test install soak fuzz bench docs clean format help

all: release

help:
	@echo "make demo     install what is missing, build, and generate text with the demo model"
	@echo "make test     build with sanitizers and run every test"
	@echo "make install  PREFIX=$(PREFIX): library, headers, program, man page, demo model"
	@echo "make bench    speed of the demo model, or of MODEL=folder"
	@echo "make soak     the long tests: every allocation fails once"
	@echo "make fuzz     every fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS) (needs clang)"
	@echo "make docs     write docs/cli.md from the option tables"
	@echo "make format   clang-format over all sources"
	@echo "make clean    remove the build folder"

.PHONY: release
release:
	@cmake -S . -B $(RELEASE) $(generator) -DCMAKE_BUILD_TYPE=Release -DMICA_TESTS=OFF \
	    -DCMAKE_INSTALL_PREFIX="$(PREFIX)" --log-level=WARNING
	@cmake --build $(RELEASE) $(jobs)

demo:
	@sh tools/bootstrap.sh
	@$(MAKE) --no-print-directory release
	@echo
	@echo '$$ mica run demo "$(PROMPT)"'
	@$(RELEASE)/cli/mica run --temp 0 demo "$(PROMPT)"
	@echo
	@echo '$$ mica run --raw -n 64 demo "In the beginning"'
	@$(RELEASE)/cli/mica run --raw --temp 0 -n 64 --show-timings demo "In the beginning"

test:
	@sh tools/bootstrap.sh test
	@cmake -S . -B $(TEST) $(generator) -DCMAKE_BUILD_TYPE=Release -DMICA_SANITIZE=ON \
	    -DMICA_TESTS=ON -DMICA_TEST_DATA="$(MICA_TEST_DATA)" --log-level=WARNING
	@cmake --build $(TEST) $(jobs)
	@cd $(TEST) && ctest --output-on-failure

install: release
	cmake --install $(RELEASE) --prefix "$(PREFIX)"

soak:
	@sh tools/bootstrap.sh test
	@cmake -S . -B $(TEST) $(generator) -DCMAKE_BUILD_TYPE=Release -DMICA_SANITIZE=ON \
	    -DMICA_TESTS=ON -DMICA_TEST_DATA="$(MICA_TEST_DATA)" --log-level=WARNING
	@cmake --build $(TEST) $(jobs)
	@cd $(TEST) && MICA_SOAK=1 ctest --output-on-failure

fuzz:
	@sh tools/bootstrap.sh test ci
	@tools/fuzz.sh $(FUZZ_SECONDS)

bench: release
	@$(RELEASE)/cli/mica bench $(if $(MODEL),"$(MODEL)",demo)

docs: release
	@$(RELEASE)/cli/mica help --markdown > docs/cli.md

format:
	@find src include cli examples tests tools bench -name '*.[ch]' -exec clang-format -i {} +

clean:
	rm -rf build
