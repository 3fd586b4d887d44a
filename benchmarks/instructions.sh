#!/usr/bin/env bash
# Instructions of a run, which a busy machine does not change: rows of
# `elman bench` on one thread under valgrind, what is timed and nothing else.
# The difference between 3 runs and 1 is that of two warm runs.
#
#     benchmarks/instructions.sh [ROW ...]        default: tiny small stream
#     CELLS="gru" MODES="infer train" benchmarks/instructions.sh medium
#
# Valgrind has no AVX-512: the engine runs as on a processor without it.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind > /dev/null; then
    echo 'valgrind is not installed: no instructions are counted'
    exit 0
fi

# With names in it, which valgrind goes by.
cargo rustc --release --locked --quiet --package elman-cli --bin elman -- -C strip=none
program=target/release/elman

# count RUNS ROW CELL MODE
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        --collect-atstart=no --toggle-collect='*elman_bench*Runner*timed*' \
        "$program" bench --row "$2" --cell "$3" --mode "$4" \
        --runs "$1" --threads 1 --json --quiet 2>&1 > /dev/null |
        sed -n 's/.*Collected : //p'
}

printf '%-12s %-5s %-7s %16s\n' row cell mode instructions
for row in "${@:-tiny small stream}"; do
    for row in $row; do
        cells=${CELLS:-rnn gru lstm} modes=${MODES:-infer train packed}
        if [ "$row" = end-to-end ]; then cells=lstm modes=train; fi
        for cell in $cells; do
            for mode in $modes; do
                # A row of one sequence is never packed.
                if [ "$mode" = packed ] && { [ "$row" = stream ] || [ "$row" = long ]; }; then
                    continue
                fi
                one=$(count 1 "$row" "$cell" "$mode")
                three=$(count 3 "$row" "$cell" "$mode")
                printf '%-12s %-5s %-7s %16d\n' "$row" "$cell" "$mode" $(((three - one) / 2))
            done
        done
    done
done
