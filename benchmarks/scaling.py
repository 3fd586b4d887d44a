"""Whether time grows as the work does: with the steps, the rows, the sum of the lengths, and the threads.

    cargo build --release
    python3 benchmarks/scaling.py [--cell lstm] [--hidden-size 128]

Each line is a row of `elman bench --json`; `per step` is its time for one row and step, and the last column the quotient
by the line before it: 1 where time is linear. Then one thread and two take turns, for the cells and modes of some rows of
the grid: the median of the rounds' quotients is how many times as fast two are. Needs Python alone.
"""

import argparse
import itertools
import json
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def bench(elman, **flags):
    """What `elman bench --json` prints of one row."""
    words = [str(word) for name, value in flags.items() for word in ("--" + name.replace("_", "-"), value)]
    command = [elman, "bench", "--json", "--quiet", "--quick", *words]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def measure(elman, rounds, all_flags):
    """For each of some rows the quickest median of some rounds, in seconds, and the valid steps of all its sequences."""
    turns = [[bench(elman, **flags) for flags in all_flags] for _ in range(rounds)]
    for flags, *runs in zip(all_flags, *turns):
        per_step = 2 * {"rnn": 1, "gru": 3, "lstm": 4}[flags["cell"]] * flags["hidden_size"]
        per_step *= flags["input_size"] + flags["hidden_size"]
        per_step *= 1 if flags["mode"] == "infer" else 3
        yield min(run["seconds"] for run in runs), runs[0]["flops"] / per_step


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cell", default="lstm", choices=["rnn", "gru", "lstm"])
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", default="small,stream,medium,large,deep,end-to-end", help="rows of the grid for the threads")
    parser.add_argument("--elman", default=str(ROOT / "target/release/elman"))
    args = parser.parse_args()
    base = {
        "cell": args.cell,
        "mode": "infer",
        "seq_len": 100,
        "batch": 32,
        "input_size": args.input_size,
        "hidden_size": args.hidden_size,
        "threads": 1,
    }
    for name, changes in {
        "steps": [{"seq_len": n} for n in (50, 100, 200, 400, 800)],
        "rows": [{"batch": n} for n in (8, 16, 32, 64, 128)],
        "steps, training": [{"mode": "train", "seq_len": n} for n in (50, 100, 200, 400)],
        "lengths: all, then from a quarter": [{"mode": "train"}, {"mode": "packed"}],
    }.items():
        print(name)
        before = None
        measured = measure(args.elman, args.rounds, [{**base, **change} for change in changes])
        for change, (seconds, steps) in zip(changes, measured):
            each = seconds / steps
            quotient = "" if before is None else f"{each / before:8.2f}"
            words = " ".join(f"{key} {value}" for key, value in change.items())
            print(f"  {words:24} {seconds * 1e3:10.3f} ms  {each * 1e9:8.1f} ns per step {quotient}", flush=True)
            before = each
    threads(args.elman, args.rounds, args.rows.split(","))


def threads(elman, rounds, rows):
    """How many times as fast two threads are, in turns with one."""
    print("one thread, two threads: the quickest median of each; the median quotient")
    cells = ("rnn", "gru", "lstm")
    for row in rows:
        # A row of one sequence is never packed.
        modes = ("infer", "train") if row in ("stream", "long") else ("infer", "train", "packed")
        for mode, cell in itertools.product(modes, cells) if row != "end-to-end" else [("train", "lstm")]:
            flags = {"row": row, "cell": cell, "mode": mode}
            pairs = [[bench(elman, **flags, threads=n)["seconds"] for n in (1, 2)] for _ in range(rounds)]
            one, two = (1e3 * min(times) for times in zip(*pairs))
            quotient = statistics.median(first / second for first, second in pairs)
            print(f"  {row:10} {cell:4} {mode:6} {one:10.3f} ms {two:10.3f} ms {quotient:8.2f}", flush=True)


if __name__ == "__main__":
    main()
