#!/bin/sh
# Builds for 64-bit ARM and runs the tests of ops and kernels, and of a small model, under qemu-user:
# on every instruction set that the emulated processor has, and once more on a processor without the
# dot products. Wants gcc-aarch64-linux-gnu and qemu-user (tools/bootstrap.sh ci).
#   tools/test_neon.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."

build=${1:-build/neon}
mkdir -p "$build"
build=$(cd "$build" && pwd)

# Debian's archive has all architectures; elsewhere the libraries may not be there.
system=$(. /etc/os-release && echo "$ID")
if ! tools/arm64_libraries.sh "$build/arm64" >"$build/arm64.log" 2>&1; then
    tail -n 5 "$build/arm64.log" >&2
    if [ "$system" = debian ]; then
        echo "test_neon: the arm64 libraries could not be fetched" >&2
        exit 1
    fi
    echo "test_neon: SKIPPED: the package archive of $system has no arm64 libraries"
    exit 0
fi

tests=""
for file in src/ops/*/*_test.c src/kernel/*_test.c src/backend/cpu/*_test.c src/model/model_test.c; do
    name=${file##*/}
    case "$name" in
    *_amx_test.c) ;; # in plain C, the same everywhere
    *) tests="$tests ${name%.c}" ;;
    esac
done

CC="" cmake -S . -B "$build" -G Ninja --toolchain cmake/aarch64-linux-gnu.cmake \
    -DMICA_ARM64_ROOT="$build/arm64" -DCMAKE_BUILD_TYPE=Release -DMICA_WERROR=ON \
    -DMICA_TEST_DATA="${MICA_TEST_DATA:-}" >/dev/null
# shellcheck disable=SC2086
ninja -C "$build" --quiet $tests

pattern=$(echo $tests | tr ' ' '|')
ctest --test-dir "$build" -j "$(nproc)" --output-on-failure -R "^($pattern)\$"
echo "without dot products:"
QEMU_CPU=cortex-a72 ctest --test-dir "$build" --output-on-failure -R '^(cpu_test|glu_test|linear_experts_test)$'
