#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each on its committed corpus for a while.
#   tools/fuzz.sh [SECONDS_EACH=30] [NAME...]
# New findings stay in build/fuzz/work/<name>/ and the run fails.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-30}
shift || true
build=build/fuzz
CC=${FUZZ_CC:-clang} cmake -S . -B "$build" -G Ninja -DMICA_FUZZ=ON -DMICA_TESTS=OFF \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
targets=$(ninja -C "$build" -t targets all | sed -n 's/^\(fuzz_[a-z0-9_]*\): phony$/\1/p' | sort -u)
ninja -C "$build" $targets
run_one() {
    local target=$1 name=${1#fuzz_} work log
    work=$build/work/$name
    log=$build/work/$name.log
    mkdir -p "$work" "fuzz/corpus/$name"
    if ! (cd "$build" && "./fuzz/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="work/$name-" "work/$name" \
        "../../fuzz/corpus/$name") >"$log" 2>&1; then
        echo "fuzz $name: FAILED"
        tail -n 40 "$log"
        return 1
    fi
    echo "fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs, no finding"
}
export -f run_one
export build seconds
want=("$@")
list=()
for t in $targets; do
    if [ ${#want[@]} -eq 0 ] || [[ " ${want[*]} " == *" ${t#fuzz_} "* ]]; then list+=("$t"); fi
done
printf '%s\n' "${list[@]}" | xargs -P "$(nproc)" -I{} bash -c 'run_one {}'
