#!/bin/sh
# Installs what the build needs and the system lacks, by apt or Homebrew, and says what it does.
#   tools/bootstrap.sh         to build and run
#   tools/bootstrap.sh test    also what the tests need
#   tools/bootstrap.sh ci      also clang, for a second opinion and for fuzzing, Python with pip,
#                              and by apt what tools/test_neon.sh wants: the cross compiler, qemu
# Only a POSIX shell is assumed. Packages that are there are left alone.
set -eu

want_tests=no
want_ci=no
for word in "$@"; do
    case "$word" in
    test) want_tests=yes ;;
    ci) want_ci=yes ;;
    *)
        echo "bootstrap: unknown word $word, wanted test or ci" >&2
        exit 2
        ;;
    esac
done

have() { command -v "$1" >/dev/null 2>&1; }

# have_library MODULE: pkg-config knows it.
have_library() { have pkg-config && pkg-config --exists "$1"; }

missing_apt=""
missing_brew=""
# need FOUND APT_NAME BREW_NAME: adds the packages unless FOUND is yes.
need() {
    [ "$1" = yes ] && return 0
    missing_apt="$missing_apt $2"
    missing_brew="$missing_brew $3"
}
found() { if "$@"; then echo yes; else echo no; fi; }
have_compiler() { have cc || have gcc || have clang; }
have_pip() { have python3 && python3 -m pip --version >/dev/null 2>&1; }
have_cmocka() { have_library cmocka || [ -e /usr/include/cmocka.h ]; }

need "$(found have_compiler)" "gcc libc6-dev" gcc
need "$(found have cmake)" cmake cmake
need "$(found have ninja)" ninja-build ninja
need "$(found have pkg-config)" pkg-config pkg-config
need "$(found have_library libpcre2-8)" libpcre2-dev pcre2
need "$(found have_library libutf8proc)" libutf8proc-dev utf8proc
need "$(found have_library jansson)" libjansson-dev jansson
need "$(found have_library libedit)" libedit-dev libedit
if [ "$want_tests" = yes ]; then
    need "$(found have_cmocka)" libcmocka-dev cmocka
fi
if [ "$want_ci" = yes ]; then
    need "$(found have clang)" "clang libclang-rt-dev llvm" llvm
    need "$(found have python3)" python3 python3
    need "$(found have_pip)" python3-pip python3
    if have apt-get; then
        need "$(found have aarch64-linux-gnu-gcc)" "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ""
        need "$(found have qemu-aarch64)" qemu-user ""
    fi
fi

if [ -z "$missing_apt" ]; then
    echo "bootstrap: everything that the build needs is there"
    exit 0
fi

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        echo "bootstrap: not root and no sudo; please install:$missing_apt" >&2
        exit 1
    fi
}

if have apt-get; then
    echo "bootstrap: installing by apt:$missing_apt"
    # shellcheck disable=SC2086
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends $missing_apt; then
        echo "bootstrap: the package lists may be old; updating them"
        as_root apt-get update -q
        # shellcheck disable=SC2086
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
            --no-install-recommends $missing_apt
    fi
elif have brew; then
    echo "bootstrap: installing by Homebrew:$missing_brew"
    # shellcheck disable=SC2086
    brew install $missing_brew
else
    echo "bootstrap: neither apt nor brew is here; please install:$missing_apt" >&2
    exit 1
fi
