#!/usr/bin/env bash
# run.sh TARGET_DIR SECONDS: builds the fuzz targets, runs each for so long, two at a time, and says how
# it went. What is found is put into the corpus, where the tests replay it until it is mended.
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_TARGET_DIR=$1
seconds=$2
# Sanitizers are a nightly feature that the stable compiler has as well.
export RUSTC_BOOTSTRAP=1

triple=$(rustc -vV | sed -n 's/^host: //p')
cargo fuzz build --target "$triple"
targets=$(cargo fuzz list)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One target: it starts from the corpus, and keeps what it learns apart from it.
fuzz() {
    local target=$1 learnt=$work/$1
    mkdir -p "$learnt" "$work/found-$target"
    local options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=512 -max_len=4096 -use_value_profile=1)
    [ -f "dictionaries/${target%%_*}.dict" ] && options+=(-dict="dictionaries/${target%%_*}.dict")
    echo "fuzz: $target begins"
    if "$CARGO_TARGET_DIR/$triple/release/$target" "${options[@]}" -artifact_prefix="$work/found-$target/" \
        "$learnt" "corpus/$target" >"$work/$target.log" 2>&1; then
        echo "fuzz: $target: nothing found; $(grep -oE 'Done [0-9]+ runs in [0-9]+ second' "$work/$target.log" | tail -1)s"
    else
        echo "fuzz: $target: FOUND something:"
        tail -n 40 "$work/$target.log"
        for input in "$work/found-$target"/*; do
            [ -f "$input" ] && cp -v "$input" "corpus/$target/"
        done
        touch "$work/failed"
    fi
}
export -f fuzz
export work seconds triple

xargs -P 2 -I{} bash -c 'fuzz {}' <<<"$targets"
if [ -e "$work/failed" ]; then
    echo "fuzz: there are findings; mend them and keep the inputs that were added to host/fuzz/corpus" >&2
    exit 1
fi
echo "fuzz: $(wc -w <<<"$targets") targets, $seconds s each, without a finding"
