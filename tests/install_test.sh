#!/bin/sh
# Installs into a temporary prefix and uses it as a stranger would: the installed program on the
# installed demo model, both examples by pkg-config (shared and static) and by find_package, and the
# public names of the shared library.
#   tests/install_test.sh SOURCE_FOLDER BUILD_FOLDER C_COMPILER [EXTRA_C_FLAGS]
set -eu
source_folder=$1
build_folder=$2
compiler=$3
flags=${4:-}

work=$(mktemp -d "${TMPDIR:-/tmp}/mica-install-XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
prefix=$work/prefix

step() { echo "== $*"; }
fail() {
    echo "install_test: $*" >&2
    exit 1
}
# expect_text FILE TEXT
expect_text() { grep -F -q -- "$2" "$1" || fail "$1 lacks: $2 ($(head -c 500 "$1"))"; }

step "install"
cmake --install "$build_folder" --prefix "$prefix" >"$work/log" || {
    cat "$work/log"
    fail "cmake --install"
}
for file in bin/mica include/mica/mica.h share/man/man1/mica.1 share/mica/models/demo/config.json \
    share/bash-completion/completions/mica share/zsh/site-functions/_mica \
    share/fish/vendor_completions.d/mica.fish; do
    [ -f "$prefix/$file" ] || fail "$file is not installed"
done
pc=$(find "$prefix" -name mica.pc)
[ -n "$pc" ] || fail "mica.pc is not installed"
libdir=$(dirname "$(dirname "$pc")")

step "the installed program, with the installed demo model"
cd "$work"
env -u MICA_DEMO "$prefix/bin/mica" show demo >out
expect_text out "$prefix/bin/../share/mica/models/demo"
expect_text out GptOssForCausalLM
env -u MICA_DEMO "$prefix/bin/mica" run --temp 0 demo "Count from 3 to 9." >out 2>err
expect_text out "3, 4, 5, 6, 7, 8, 9."

# The prefix in mica.pc is that of the configuration; this one is given on the command line.
PKG_CONFIG_PATH=$libdir/pkgconfig
export PKG_CONFIG_PATH
pkg() { pkg-config --define-variable=prefix="$prefix" "$@"; }

check_examples() { # check_examples HELLO GENERATE
    LD_LIBRARY_PATH=$libdir "$1" >out
    expect_text out "0.0900 0.2447 0.6652"
    expect_text out "0.0159 0.1173 0.8668"
    expect_text out "1 plan"
    LD_LIBRARY_PATH=$libdir "$2" "$prefix/share/mica/models/demo" "In the beginning" >out
    expect_text out "In the beginning"
    [ "$(wc -c <out)" -gt 40 ] || fail "generate made no text: $(cat out)"
    if LD_LIBRARY_PATH=$libdir "$2" "$work/nothing" x >out 2>err; then fail "no error"; fi
    expect_text err "generate: "
}

step "the examples by pkg-config, shared"
for example in hello block generate; do
    # shellcheck disable=SC2046,SC2086
    "$compiler" -std=c11 -Wall -Wextra -Werror $flags "$source_folder/examples/$example.c" \
        $(pkg --cflags --libs mica) -o "$example"
done
check_examples ./hello ./generate
LD_LIBRARY_PATH=$libdir ./block >out
expect_text out "0.2056  -3.0952"

step "the examples by pkg-config, static"
for example in hello block generate; do
    # shellcheck disable=SC2046,SC2086
    "$compiler" -std=c11 $flags "$source_folder/examples/$example.c" $(pkg --cflags mica) \
        "$libdir/libmica.a" $(pkg --static --libs mica | sed 's/-lmica//g') -o "$example-static"
done
check_examples ./hello-static ./generate-static

step "the examples by find_package"
cmake -S "$source_folder/examples" -B consumer -DCMAKE_C_COMPILER="$compiler" \
    -DCMAKE_C_FLAGS="$flags" -DCMAKE_PREFIX_PATH="$prefix" >log 2>&1 &&
    cmake --build consumer >>log 2>&1 || {
    cat log
    fail "find_package consumer"
}
check_examples consumer/hello consumer/generate
check_examples consumer/hello_static consumer/generate_static

step "a header compiles alone, as C and as C++"
for header in "$prefix"/include/mica/*.h; do
    printf '#include "%s"\n' "$header" >one.c
    "$compiler" -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -fsyntax-only one.c
    if command -v c++ >/dev/null 2>&1; then
        cp one.c one.cc
        c++ -std=c++11 -Wall -Wextra -Werror -I"$prefix/include" -fsyntax-only one.cc
    fi
done

step "public names: those of the headers and no others"
if [ -f "$libdir/libmica.so" ]; then
    nm -D --defined-only "$libdir/libmica.so" | awk '{print $3}' | sed 's/@.*//' |
        grep -v -E '^(__asan|__odr_asan|__ubsan|__tsan|__sanitizer|_init$|_fini$|_edata$|_end$|__bss_start$)' |
        sort -u >exported
    # Declarations: every function name after MICA_API, up to its parenthesis.
    cat "$prefix"/include/mica/*.h | tr '\n' ' ' | sed 's/MICA_API/\
MICA_API/g' | sed -n 's/^MICA_API[^(;]*[ *]\(mica_[a-z0-9_]*\)(.*/\1/p' | sort -u >declared
    [ -s declared ] || fail "no declarations were found"
    comm -23 exported declared >extra
    comm -13 exported declared >absent
    [ ! -s extra ] || fail "exported, but in no header: $(tr '\n' ' ' <extra)"
    [ ! -s absent ] || fail "declared, but not exported: $(tr '\n' ' ' <absent)"
    echo "$(wc -l <declared) names"
fi
echo "install_test: all is well"
