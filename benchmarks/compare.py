#!/usr/bin/env python3
"""Elman, PyTorch and ONNX Runtime on the same work, on one machine, in turn.

    cargo build --release
    python3 -m venv target/bench-venv
    target/bench-venv/bin/pip install -r benchmarks/requirements.txt
    target/bench-venv/bin/python benchmarks/compare.py --out benchmarks

The rows are those of `elman bench` (see its --help), f32, on as many threads for
each. Every row is measured in rounds, one after the other in each, so that what
else the machine does falls on all; a round is the median of as many runs as take
0.3 s, at least 5, after one that warms up. Reported are medians over the rounds,
and the median of the rounds' quotients: above 1 elman is the faster one.

Every run has a new input. In training the gradients start from nothing (in
PyTorch they are None, in elman zero), which is timed with the run. PyTorch infers
under inference_mode(); ONNX Runtime infers only. Both have their threads set for
one operation, and one for operations side by side.
"""

import argparse
import csv
import datetime
import gc
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

try:
    import numpy as np
    import onnx
    import onnxruntime
    import torch
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    sys.exit(f"{missing}; the virtual environment is made as follows:\n{__doc__}")

ROOT = Path(__file__).resolve().parent.parent
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
MODES = ["infer", "train", "packed"]
CONTENDERS = ["elman", "torch", "onnxruntime"]
SYMBOLS = 65

# T, B, I, H, layers, directions
GRID = {
    "tiny": (3, 3, 1, 2, 1, 1),
    "small": (30, 32, 8, 32, 1, 1),
    "stream": (100, 1, 16, 64, 1, 1),
    "medium": (100, 32, 64, 128, 1, 1),
    "large": (100, 64, 256, 512, 1, 1),
    "huge": (50, 128, 512, 1024, 1, 1),
    "long": (1000, 1, 256, 512, 1, 1),
    "deep": (100, 32, 64, 128, 2, 2),
    "end-to-end": (64, 32, 64, 256, 1, 1),
}

# Inputs of a row: each begins a little further on in the same random numbers.
INPUTS = 61


class Case:
    def __init__(self, row, cell, mode):
        self.row, self.cell, self.mode = row, cell, mode
        self.T, self.B, self.I, self.H, self.layers, self.directions = GRID[row]

    def __str__(self):
        return f"{self.row} {self.cell} {self.mode}"

    def lengths(self):
        """floor(linspace(max(1, T/4), T, B)), in whole quarters of a step."""
        first, last, gaps = max(4, self.T), 4 * self.T, max(1, self.B - 1)
        return [(first * gaps + (last - first) * b) // (4 * gaps) for b in range(self.B)]

    def flops(self):
        steps = sum(self.lengths()) if self.mode == "packed" else self.T * self.B
        inputs = [self.I] + [self.directions * self.H] * (self.layers - 1)
        gates = GATES[self.cell]
        step = sum(2 * self.directions * gates * self.H * (i + self.H) for i in inputs)
        if self.row == "end-to-end":
            step += 2 * self.H * SYMBOLS
        return steps * step * (1 if self.mode == "infer" else 3)


def cases(rows, cells, modes):
    for row in rows:
        if row == "end-to-end":
            if "lstm" in cells and "train" in modes:
                yield Case(row, "lstm", "train")
            continue
        for cell in cells:
            for mode in modes:
                if mode != "packed" or GRID[row][1] > 1:
                    yield Case(row, cell, mode)


def measure(prepare, run, quick):
    """Seconds of a run, in the median; `prepare(n)` is not timed."""
    least, most = (3, 0.05) if quick else (5, 0.3)
    run(prepare(0))
    runs, spent = [], 0.0
    gc.collect()
    gc.disable()
    while len(runs) < least or spent < most:
        given = prepare(len(runs) + 1)
        start = time.perf_counter()
        run(given)
        runs.append(time.perf_counter() - start)
        spent += runs[-1]
    gc.enable()
    return statistics.median(runs)


def random_numbers(case):
    size = case.T * case.B * case.I + INPUTS
    return np.random.default_rng(0).random(size, dtype=np.float32)


def run_torch(case, quick):
    torch.manual_seed(0)
    if case.row == "end-to-end":
        return run_language_model(case, quick)
    layer = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[case.cell]
    model = layer(case.I, case.H, case.layers, bidirectional=case.directions == 2)
    numbers = torch.from_numpy(random_numbers(case))
    lengths = torch.tensor(case.lengths())

    def prepare(n):
        size = case.T * case.B * case.I
        x = numbers[n % INPUTS :][:size].clone().view(case.T, case.B, case.I)
        return x if case.mode == "infer" else x.requires_grad_()

    def infer(x):
        return model(x)[0]

    def train(x):
        model.zero_grad()
        model(x)[0].sum().backward()

    def packed(x):
        model.zero_grad()
        pack = torch.nn.utils.rnn.pack_padded_sequence
        model(pack(x, lengths, enforce_sorted=False))[0].data.sum().backward()

    if case.mode == "infer":
        model.eval()
        with torch.inference_mode():
            return measure(prepare, infer, quick)
    return measure(prepare, {"train": train, "packed": packed}[case.mode], quick)


def run_language_model(case, quick):
    encoder = torch.nn.Embedding(SYMBOLS, case.I)
    rnn = torch.nn.LSTM(case.I, case.H)
    decoder = torch.nn.Linear(case.H, SYMBOLS)
    model = torch.nn.ModuleList([encoder, rnn, decoder])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    text = torch.randint(SYMBOLS, (1 << 16,))

    def prepare(n):
        first = n * case.T * case.B % (len(text) - case.T * case.B)
        pieces = text[first : first + case.T * case.B + 1]
        x, target = pieces[:-1].view(case.B, case.T), pieces[1:].view(case.B, case.T)
        return x.t().contiguous(), target.t().contiguous()

    def step(batch):
        x, target = batch
        optimizer.zero_grad()
        scores = decoder(rnn(encoder(x))[0])
        loss = torch.nn.functional.cross_entropy(scores.view(-1, SYMBOLS), target.view(-1))
        loss.backward()
        optimizer.step()

    return measure(prepare, step, quick)


def onnx_model(case):
    """Nodes for the layers, as PyTorch exports them."""
    rng = np.random.default_rng(0)
    gates, directions = GATES[case.cell], case.directions
    nodes, weights, x, width = [], [], "x", case.I

    def weight(name, *shape):
        bound = 1 / math.sqrt(case.H)
        values = rng.uniform(-bound, bound, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    weights.append(numpy_helper.from_array(np.array([0, 0, -1], np.int64), "rows"))
    for layer in range(case.layers):
        inputs = [
            x,
            weight(f"W{layer}", directions, gates * case.H, width),
            weight(f"R{layer}", directions, gates * case.H, case.H),
            weight(f"B{layer}", directions, 2 * gates * case.H),
        ]
        options = {"hidden_size": case.H}
        options["direction"] = "bidirectional" if directions == 2 else "forward"
        if case.cell == "gru":
            options["linear_before_reset"] = 1
        nodes.append(helper.make_node(case.cell.upper(), inputs, [f"y{layer}"], **options))
        # (T, D, B, H) to (T, B, D H)
        nodes.append(
            helper.make_node("Transpose", [f"y{layer}"], [f"t{layer}"], perm=[0, 2, 1, 3])
        )
        nodes.append(helper.make_node("Reshape", [f"t{layer}", "rows"], [f"h{layer}"]))
        x, width = f"h{layer}", directions * case.H
    graph = helper.make_graph(
        nodes,
        "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [case.T, case.B, case.I])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, [case.T, case.B, width])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def run_onnxruntime(case, quick, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(onnx_model(case), options, providers=providers)
    numbers = random_numbers(case)

    def prepare(n):
        size = case.T * case.B * case.I
        return numbers[n % INPUTS :][:size].reshape(case.T, case.B, case.I).copy()

    return measure(prepare, lambda x: session.run(None, {"x": x}), quick)


def run_elman(case, quick, threads, program):
    command = [program, "bench", "--row", case.row, "--cell", case.cell, "--mode", case.mode]
    command += ["--threads", str(threads), "--json", "--quiet"]
    if quick:
        command.append("--quick")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[1:])}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def check_same(case, told):
    """That elman did the work that the others do."""
    names = ["seq_len", "batch", "input_size", "hidden_size", "layers", "bidirectional"]
    ours = [case.T, case.B, case.I, case.H, case.layers, case.directions == 2]
    theirs = [told[name] for name in names]
    if (ours, case.flops()) != (theirs, told["flops"]):
        sys.exit(f"{case}: {ours}, {case.flops()} here; {theirs}, {told['flops']} in elman")


def measure_row(case, args, raw, report):
    contenders = [c for c in CONTENDERS if c != "onnxruntime" or case.mode == "infer"]
    seconds = {contender: [] for contender in contenders}
    shares = []
    for number in range(args.rounds):
        for contender in contenders:
            if contender == "elman":
                told = run_elman(case, args.quick, args.threads, args.elman)
                if number == 0:
                    check_same(case, told)
                shares.append(told["share_of_peak"])
                taken = told["seconds"]
            elif contender == "torch":
                taken = run_torch(case, args.quick)
            else:
                taken = run_onnxruntime(case, args.quick, args.threads)
            seconds[contender].append(taken)
            raw.append([case.row, case.cell, case.mode, number, contender, taken])
            # Threads that still wait for work go to sleep.
            time.sleep(0.05)
    medians = {c: statistics.median(s) for c, s in seconds.items()}
    quotients = {}
    for other in contenders[1:]:
        pairs = zip(seconds[other], seconds["elman"])
        quotients[other] = statistics.median(theirs / ours for theirs, ours in pairs)
    report.append(
        {
            "row": case.row,
            "cell": case.cell,
            "mode": case.mode,
            "T": case.T,
            "B": case.B,
            "I": case.I,
            "H": case.H,
            "layers": case.layers,
            "directions": case.directions,
            "flops": case.flops(),
            "seconds": medians,
            "times_elman": quotients,
            "gflops": {c: case.flops() / s / 1e9 for c, s in medians.items()},
            "elman_share_of_peak": statistics.median(shares),
            "rounds": seconds,
        }
    )


def geometric_means(report):
    """Of the quotients, over all rows and over those of every mode."""
    means = []
    for other in CONTENDERS[1:]:
        for mode in ["all", *MODES]:
            quotients = [
                row["times_elman"][other]
                for row in report
                if other in row["times_elman"] and mode in ("all", row["mode"])
            ]
            if quotients:
                mean = statistics.geometric_mean(quotients)
                means.append({"against": other, "mode": mode, "rows": len(quotients), "mean": mean})
    return means


def machine(args):
    def lines(path):
        try:
            return Path(path).read_text().splitlines()
        except OSError:
            return []

    models = [line.split(":", 1)[1].strip() for line in lines("/proc/cpuinfo") if "model name" in line]
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ("".join(lines(index / name)) for name in ["level", "type", "size"])
        caches[f"L{level} {kind.lower()}"] = size

    def said(*command):
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        return done.stdout.strip() if done.returncode == 0 else None

    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "caches": caches,
        "elman": said(args.elman, "--version"),
        "commit": said("git", "rev-parse", "--short", "HEAD"),
        "rustc": said("rustc", "--version"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }


def show(report, means):
    header = ["", *(f"{c}, s" for c in CONTENDERS), *(f"{c}/elman" for c in CONTENDERS[1:])]
    header += ["elman GFLOP/s", "of its peak"]
    table = [header]
    for row in report:
        seconds, quotients = row["seconds"], row["times_elman"]
        line = [f"{row['row']} {row['cell']} {row['mode']}"]
        line += [f"{seconds[c]:.3e}" if c in seconds else "-" for c in CONTENDERS]
        line += [f"{quotients[c]:.2f}" if c in quotients else "-" for c in CONTENDERS[1:]]
        line += [f"{row['gflops']['elman']:.1f}", f"{row['elman_share_of_peak']:.1%}"]
        table.append(line)
    widths = [max(len(line[i]) for line in table) for i in range(len(header))]
    for line in table:
        cells = [line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])]
        print("  ".join(cells).rstrip())
    print("\nGeometric means of the quotients")
    for mean in means:
        what = f"{mean['against']}/elman, {mean['mode']}"
        print(f"  {what:<28}{mean['mean']:6.2f}  of {mean['rows']} rows")


def write(folder, facts, args, report, means, raw):
    name = re.sub(r"[^a-z0-9]+", "-", facts["cpu"].lower()).strip("-")
    folder = Path(folder) / f"{datetime.date.today()}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    options = {"threads": args.threads, "rounds": args.rounds, "quick": args.quick}
    everything = {"machine": facts, "options": options, "geometric_means": means, "rows": report}
    with open(folder / "compare.json", "w") as file:
        json.dump(everything, file, indent=1)
        file.write("\n")
    with open(folder / "compare.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "cell", "mode", "round", "contender", "seconds"])
        writer.writerows(raw)
    print(f"\nwritten: {folder}/compare.json and compare.csv", file=sys.stderr)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def chosen(legal):
        def parse(text):
            names = text.split(",")
            for name in names:
                if name not in legal:
                    raise argparse.ArgumentTypeError(f"{name}: not one of {', '.join(legal)}")
            return [name for name in legal if name in names]

        return parse

    def whole(text):
        n = int(text)
        if n < 1:
            raise argparse.ArgumentTypeError("expected a whole number, 1 or more")
        return n

    for name, legal in [("rows", list(GRID)), ("cells", list(GATES)), ("modes", MODES)]:
        parser.add_argument(
            f"--{name}",
            type=chosen(legal),
            default=legal,
            metavar="A,B",
            help=f"some of {', '.join(legal)} [default: all]",
        )
    parser.add_argument("--threads", type=whole, default=2, help="threads of each [default: 2]")
    parser.add_argument("--rounds", type=whole, help="rounds [default: 5; 2 with --quick]")
    parser.add_argument("--quick", action="store_true", help="few runs in a round")
    parser.add_argument("--out", metavar="DIR", help="writes all to DIR/<date>-<cpu>/")
    parser.add_argument(
        "--elman", default=str(ROOT / "target/release/elman"), help="the program to measure"
    )
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 5)
    if not Path(args.elman).is_file():
        parser.error("there is no program at --elman; cargo build --release makes it")
    return args


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    torch.set_num_interop_threads(1)
    facts = machine(args)
    raw, report = [], []
    work = list(cases(args.rows, args.cells, args.modes))
    if not work:
        sys.exit("none of these rows has these cells and modes")
    for number, case in enumerate(work):
        print(f"{number + 1} of {len(work)}: {case}", file=sys.stderr)
        measure_row(case, args, raw, report)
    means = geometric_means(report)
    for name, fact in facts.items():
        print(f"{name}: {fact}")
    print(f"threads: {args.threads}, rounds: {args.rounds}\n")
    show(report, means)
    if args.out:
        write(args.out, facts, args, report, means, raw)


if __name__ == "__main__":
    main()
