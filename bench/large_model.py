#!/usr/bin/env python3
"""Times training steps of craft and of PyTorch on a model too large for two processes in memory: one process at a time.

    .build/release/craft model init Tests/Fixtures/configs/vla-adapter.json --out /tmp/full
    .venv-bench/bin/python bench/large_model.py --model /tmp/full --lora-rank 64 --modes baseline,craft

Each turn is a process of its own that loads the model, does --warmup steps and then --steps timed ones; craft and PyTorch
have theirs one after the other, --rounds times. Weights and batch are the same; the run fails when the losses of the first
steps differ by more than 1e-3. Prints seconds to the first step, seconds a step, peak memory, and ratios, as JSON.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

from interleaved import LISTS, PEERS, ROOT, Worker


def turn(command, mode):
    """One process: (seconds until it is ready, milliseconds of its steps, losses of its first steps, peak MiB)."""
    start = time.perf_counter()
    worker = Worker(command)
    ready = time.perf_counter() - start
    line = worker.round(1)[0]
    rest = worker.finish()
    losses = worker.ready["losses"][mode] if "losses" in worker.ready else [
        step["action"] for step in rest["steps"][0]["firstLosses"]]
    return {"ready": ready, "ms": line["ms"], "losses": losses,
            "peak": rest.get("peakMebibytes") or rest["peak_rss_mb"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--craft", default=os.path.join(ROOT, ".build/release/craft"))
    parser.add_argument("--model", required=True, help="model folder, as craft model init writes it")
    parser.add_argument("--peers", default="eager", help=f"of {', '.join(PEERS)}; bf16 is compared with craft's bf16")
    parser.add_argument("--modes", default="baseline,craft")
    parser.add_argument("--lora-rank", type=int)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--prompt", type=int, default=56)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    common = ["--rounds", "1", "--steps", str(arguments.steps), "--warmup", str(arguments.warmup), "--threads",
              str(arguments.threads), "--wait"]
    if arguments.lora_rank:
        common += ["--lora-rank", str(arguments.lora_rank)]
    result = {}
    with tempfile.TemporaryDirectory(dir=arguments.model) as scratch:
        work = os.path.join(scratch, "work.safetensors")
        for mode in arguments.modes.split(","):
            for peer in arguments.peers.split(","):
                precision = ["--matmul-precision", "bf16"] if peer == "bf16" else []
                commands = {
                    "craft": [arguments.craft, "bench", "--model", arguments.model, "--plugins",
                              LISTS[mode.split("-")[0]], "--batch-size", str(arguments.batch), "--prompt-tokens",
                              str(arguments.prompt), "--no-inference", "--save", work, *precision, *common],
                    peer: [sys.executable, os.path.join(ROOT, "bench/pytorch_step.py"), "--config",
                           os.path.join(arguments.model, "config.json"), "--weights", arguments.model, "--work", work,
                           "--modes", mode, *PEERS[peer], *common],
                }
                turns = {name: [] for name in commands}
                for index in range(arguments.rounds):
                    for name, command in commands.items():
                        turns[name].append(turn(command, mode))
                        print(f"{mode}, {name}: {turns[name][-1]}", file=sys.stderr, flush=True)
                own, other = ([statistics.median(t["ms"]) for t in turns[name]] for name in commands)
                result[f"{mode}, {peer}"] = {
                    **{f"{name} {key}": round(statistics.median(value(t) for t in list_), 2)
                       for name, list_ in turns.items()
                       for key, value in (("seconds a step", lambda t: statistics.median(t["ms"]) / 1e3),
                                          ("seconds until ready", lambda t: t["ready"]), ("peak MiB", lambda t: t["peak"]))},
                    "ratio": [round(a / b, 3) for a, b in zip(own, other)],
                    "loss difference": max(abs(a - b) for a, b in zip(turns["craft"][0]["losses"], turns[peer][0]["losses"])),
                }
    print(json.dumps(result, indent=1))
    wrong = {k: v["loss difference"] for k, v in result.items() if v["loss difference"] > 1e-3 and "bf16" not in k}
    if wrong:
        sys.exit(f"losses differ by more than 1e-3, so the work is not the same: {wrong}")


if __name__ == "__main__":
    main()
