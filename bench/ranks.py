#!/usr/bin/env python3
"""Training on several ranks: measured here, and what a model of it says of clusters.

    bench/ranks.py measure [--craft .build/release/craft] [--accumulation 2] [--repeats 3]
    bench/ranks.py model   [--step 6] [--gradients 1.15] [--parameters 0.78] [--memory 4]

`measure` compares one rank of one thread with two: twice the micro-batches in, ideally, the same time (weak scaling). Runs take turns,
and the median of each is kept: other work on the machine slows both.

`model` prints efficiencies. A step takes `--step` seconds; objectives' gradients are `--gradients` GB in all, parameters `--parameters`
GB. Every rank sends its gradients to their owners and gets the parameters back, (N - 1)/N of both, directly: the ranks of one host share
its network card. Nothing overlaps. Sums run at `--memory` GB/s of buffer in each rank. Small messages pass through rank 0. Of N steps the
slowest counts, of a spread of 2 %.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile

PLUGINS = "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"


def train(craft, ranks, accumulation, steps, plugins):
    with tempfile.TemporaryDirectory() as folder:
        command = [craft, "train", "--plugins", plugins, "--steps", str(steps), "--out", f"{folder}/run", "--threads", "1",
                   "--accumulation", str(accumulation * ranks), "--questions", "none", "--hold-out-every", "0", "--quiet"]
        if ranks > 1:
            command = ["mpirun", "--oversubscribe", "--bind-to", "core", "-n", str(ranks)] + command
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        with open(f"{folder}/run/metrics.jsonl") as file:
            times = [json.loads(line)["ms"] for line in file if '"ms"' in line]
        phases = [line for line in done.stdout.splitlines() if line.startswith("ms by phase")]
        return statistics.median(times[2:]), phases[0] if phases else ""


def measure(options):
    kinds = {ranks: [] for ranks in (1, 2)}
    for _ in range(options.repeats):
        for ranks, times in kinds.items():
            milliseconds, phases = train(options.craft, ranks, options.accumulation, options.steps, options.plugins)
            times.append(milliseconds)
            print(f"{ranks} rank{'s' * (ranks > 1)}: {milliseconds:.1f} ms/step; {phases}", flush=True)
    one, two = (statistics.median(kinds[ranks]) for ranks in (1, 2))
    print(f"weak scaling with accumulation {options.accumulation} a rank: {one / two:.3f} ({one:.1f} ms -> {two:.1f} ms)")


def efficiency(options, ranks, gigabytes, latency, per_host):
    """gigabytes: a second, of one host's network card, each way."""
    if ranks == 1:
        return 1.0
    # What stays on the host goes through memory.
    far = (ranks - min(per_host, ranks)) / ranks
    wire = (options.gradients + options.parameters) * far * min(per_host, ranks) / gigabytes
    sums = (options.gradients + options.parameters) * (ranks - 1) / ranks / options.memory
    # Losses, three gathers of small messages through rank 0, and the pieces of every other rank.
    small = 3 * 2 * latency * math.log2(ranks) + 3 * latency * ranks / 8 + 3 * (ranks - 1) * latency / 4
    wait = options.step * 0.02 * math.sqrt(2 * math.log(ranks))
    return options.step / (options.step + wire + sums + small + wait)


def model(options):
    print("| network | hosts of | " + " | ".join(f"{n} ranks" for n in (2, 8, 16, 64, 256, 1000)) + " |")
    print("|---|---|" + "---|" * 6)
    for name, gigabytes, latency in (("100 Gb/s", 11.5, 5e-6), ("25 Gb/s", 2.9, 2e-5), ("10 Gb/s", 1.15, 6e-5), ("1 Gb/s", 0.117, 3e-4)):
        for per_host in (1, 2, 8):
            row = (f"{efficiency(options, n, gigabytes, latency, per_host):.2f}" for n in (2, 8, 16, 64, 256, 1000))
            print(f"| {name} | {per_host} rank{'s' * (per_host > 1)} | " + " | ".join(row) + " |")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
kinds = parser.add_subparsers(dest="kind", required=True)
measured = kinds.add_parser("measure")
measured.add_argument("--craft", default=".build/release/craft")
measured.add_argument("--accumulation", type=int, default=2)
measured.add_argument("--repeats", type=int, default=3)
measured.add_argument("--steps", type=int, default=8)
measured.add_argument("--plugins", default=PLUGINS)
modelled = kinds.add_parser("model")
for name, value in (("step", 6.0), ("gradients", 1.15), ("parameters", 0.78), ("memory", 4.0)):
    modelled.add_argument(f"--{name}", type=float, default=value)
chosen = parser.parse_args()
measure(chosen) if chosen.kind == "measure" else model(chosen)
