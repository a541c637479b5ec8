#!/usr/bin/env python3
"""Times a training step of craft and of PyTorch in turns, same model, batch and threads, and prints ratios.

    .venv-bench/bin/python bench/interleaved.py --rounds 5 --steps 20

craft's figure is the median step of `craft train` on the shipped demonstrations, data loading included; PyTorch's is the
median step on random inputs that are already in memory (pytorch_step.py), with as many prompt tokens as the
demonstrations have on average. One JSON object at the end.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLUGINS = {"baseline": "BaselineL1", "craft": "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"}


def craft_step(craft, mode, arguments):
    with tempfile.TemporaryDirectory() as folder:
        output = subprocess.run(
            [craft, "train", "--plugins", PLUGINS[mode], "--steps", str(arguments.steps), "--batch-size",
             str(arguments.batch), "--threads", str(arguments.threads), "--questions", "none", "--hold-out-every", "0",
             "--quiet", "--out", os.path.join(folder, "run")],
            check=True, capture_output=True, text=True).stdout
    found = re.search(r"([0-9.]+) ms/step, peak memory (\d+) MiB", output)
    return float(found[1]), int(found[2])


def torch_steps(worker, modes):
    """One round: the median step of each mode, in milliseconds."""
    worker.stdin.write("\n")
    worker.stdin.flush()
    result = {}
    while len(result) < len(modes):
        line = json.loads(worker.stdout.readline())
        times = line.get("ms") or line.get("milliseconds")
        if times:
            result[line["mode"]] = statistics.median(times)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--craft", default=os.path.join(ROOT, ".build/release/craft"))
    parser.add_argument("--config", default=os.path.join(ROOT, "Assets/small-vlm/config.json"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=30)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    modes = list(PLUGINS)
    worker = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "bench/pytorch_step.py"), "--config", arguments.config, "--batch",
         str(arguments.batch), "--prompt", str(arguments.prompt), "--threads", str(arguments.threads), "--rounds",
         str(arguments.rounds), "--steps", str(arguments.steps), "--modes", ",".join(modes), "--wait"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if "ready" not in json.loads(worker.stdout.readline()):
        sys.exit("pytorch_step.py did not get ready")
    rows = []
    for index in range(arguments.rounds):
        row = {}
        for mode in modes:
            row["craft_" + mode], row["craft_peak_mib"] = craft_step(arguments.craft, mode, arguments)
        row.update({"torch_" + mode: value for mode, value in torch_steps(worker, modes).items()})
        rows.append(row)
        print(f"round {index + 1}: " + ", ".join(f"{k} {v:.1f}" for k, v in row.items()), flush=True)
    worker.communicate()

    def ratios(a, b):
        values = [row[a] / row[b] for row in rows]
        return {"median": statistics.median(values), "min": min(values), "max": max(values)}

    print(json.dumps({
        "ms": {key: statistics.median(row[key] for row in rows) for key in rows[0]},
        "craft baseline / torch baseline": ratios("craft_baseline", "torch_baseline"),
        "craft CRaFT / torch CRaFT": ratios("craft_craft", "torch_craft"),
        "craft CRaFT / craft baseline": ratios("craft_craft", "craft_baseline"),
    }, indent=1))


if __name__ == "__main__":
    main()
