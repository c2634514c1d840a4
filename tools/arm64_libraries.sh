#!/bin/sh
# Fetches the arm64 builds of the libraries that mica links, and of cmocka, into FOLDER/usr, from the
# system's own package archive. Nothing is installed, and root is not needed: apt works on lists and
# a (blank) state of its own there. Fails where the archive has no arm64 packages, as Ubuntu's.
#   tools/arm64_libraries.sh FOLDER
set -eu

folder=${1:?wanted a folder}
mkdir -p "$folder/apt/lists/partial" "$folder/apt/cache/archives/partial"
folder=$(cd "$folder" && pwd)
state="$folder/apt"
: >"$state/status"

arm64_apt() {
    apt-get -q -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
        -o "Dir::State=$state" -o "Dir::State::status=$state/status" \
        -o "Dir::Cache=$state/cache" "$@"
}

arm64_apt update
arm64_apt install -y --download-only --no-install-recommends \
    libpcre2-dev libutf8proc-dev libjansson-dev libcmocka-dev

for package in "$state"/cache/archives/lib*.deb; do
    case "${package##*/}" in
    libpcre2-* | libutf8proc* | libjansson* | libcmocka*) dpkg -x "$package" "$folder" ;;
    esac
done
rm -rf "$state"
