#!/usr/bin/env python3
"""Times training steps and inference of craft and of PyTorch in turns: same weights, batch and threads; prints ratios.

    .venv-bench/bin/python bench/interleaved.py --model small --rounds 5 --steps 10 --peers eager,compiled,bf16

craft runs as `craft bench --wait`, PyTorch as `pytorch_step.py --wait`, one process per peer; within a round each has its
turn. Both read the weights and the batch that craft writes first, and the run fails when their losses of the first steps
differ by more than 1e-3 (models whose tower has a class token take random weights in PyTorch and are not compared).
One JSON object at the end.

    bench/interleaved.py --neighbours 1     every round also beside a busy loop held to one processor: the slowdown
    bench/interleaved.py --memory           also the peak memory of the CRaFT step, each in a process that does nothing else
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LISTS = {
    "baseline": "BaselineL1",
    "craft": "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual",
    "craft-visual": "BaselineL1,AnchorVariants:type=raw_only,CRaFTProjection,CRaFTDual",
}
PEERS = {"eager": [], "compiled": ["--compile"], "bf16": ["--bf16"]}


class Worker:
    """A process that does a round for every line on its standard input and answers in JSON lines."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self.line()
        if "ready" not in self.ready:
            sys.exit(f"{command[0]} said {self.ready} instead of that it is ready")

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            sys.exit(f"{' '.join(self.process.args)} ended early")
        return json.loads(text)

    def round(self, lines):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [self.line() for _ in range(lines)]

    def finish(self):
        self.process.stdin.close()
        rest = self.process.stdout.read().strip().split("\n")
        self.process.wait()
        return json.loads(rest[-1])


class Neighbours:
    """Busy loops, each held to a processor of its own."""

    def __init__(self, count):
        self.loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
        for cpu, loop in zip(sorted(os.sched_getaffinity(0)), self.loops):
            os.sched_setaffinity(loop.pid, {cpu})

    def stop(self):
        for loop in self.loops:
            loop.kill()
            loop.wait()


def one_round(crafts, peers, modes):
    """Median milliseconds by program and mode."""
    row = {}
    for own, worker in crafts.items():
        lines = worker.round(len(LISTS) + 1)
        row.update({f"{own} {name}": statistics.median(line["ms"]) for name, line in zip(LISTS, lines)})
        row[f"{own} latency"] = statistics.median(lines[-1]["latency"])
    for peer, worker in peers.items():
        for mode, line in zip(modes, worker.round(len(modes))):
            row[f"{peer} {mode}"] = line["median_ms"]
    return row


def peak_memory(craft, peers):
    """Peak MiB of three CRaFT steps, of each program."""
    def last(command):
        output = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=True).stdout
        return json.loads(output.strip().split("\n")[-1])

    short = ["--rounds", "1", "--steps", "1", "--warmup", "2"]
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "report.json")
        subprocess.run([*craft, "--plugins", LISTS["craft"], *short, "--json", path], check=True, stdout=subprocess.DEVNULL)
        with open(path) as file:
            result = {"craft": json.load(file)["peakMebibytes"]}
    for peer, command in peers.items():
        result[peer] = last([*command, "--modes", "craft", *short])["peak_rss_mb"]
    return result


def ratios(rows, a, b):
    values = [row[a] / row[b] for row in rows]
    return {name: round(f(values), 3) for name, f in (("median", statistics.median), ("min", min), ("max", max))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--craft", default=os.path.join(ROOT, ".build/release/craft"))
    parser.add_argument("--model", default="small", help="small, medium, smollm2 or a folder with a config.json")
    parser.add_argument("--peers", default="eager", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--modes", default="baseline,craft,latency", help="of pytorch_step.py's modes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=30)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                        help="cpu: processor time, for a machine that others use; with --threads 1")
    parser.add_argument("--neighbours", type=int, default=0, help="busy loops to run every round beside once more")
    parser.add_argument("--memory", action="store_true", help="also measure the peak memory of a CRaFT step")
    arguments = parser.parse_args()
    if unknown := set(arguments.peers.split(",")) - set(PEERS):
        parser.error(f"unknown peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    folder = {"small": "Assets/small-vlm"}.get(arguments.model, f"Assets/bench/{arguments.model}")
    folder = arguments.model if os.path.isdir(arguments.model) else os.path.join(ROOT, folder)
    with open(os.path.join(folder, "config.json")) as file:
        towers = json.load(file)["craft_small"]["towers"]
    comparable = not any(t["class_token"] or t["register_tokens"] for t in towers)
    with tempfile.TemporaryDirectory() as scratch:
        work = os.path.join(scratch, "work.safetensors")
        turns = arguments.rounds * (2 if arguments.neighbours else 1)
        common = ["--rounds", str(turns), "--steps", str(arguments.steps), "--threads",
                  str(arguments.threads), "--clock", arguments.clock, "--wait"]
        base = [arguments.craft, "bench", "--model", arguments.model, "--batch-size", str(arguments.batch),
                "--prompt-tokens", str(arguments.prompt)]
        command = [*base, "--plugins", "; ".join(LISTS.values()), *common]
        crafts = {"craft": Worker([*command, "--save", work])}
        if "bf16" in arguments.peers.split(","):
            crafts["craft-bf16"] = Worker([*command, "--matmul-precision", "bf16"])
        source = ["--work", work] if comparable else []
        commands = {
            peer: [sys.executable, os.path.join(ROOT, "bench/pytorch_step.py"), "--config",
                   os.path.join(folder, "config.json"), "--batch", str(arguments.batch), "--prompt",
                   str(arguments.prompt), *source, *PEERS[peer]]
            for peer in arguments.peers.split(",")
        }
        peers = {peer: Worker([*start, "--modes", arguments.modes, *common]) for peer, start in commands.items()}
        modes = arguments.modes.split(",")
        rows, busy = [], []
        for index in range(arguments.rounds):
            rows.append(one_round(crafts, peers, modes))
            print(f"round {index + 1}: " + ", ".join(f"{k} {v:.1f}" for k, v in rows[-1].items()), flush=True)
            if arguments.neighbours:
                neighbours = Neighbours(arguments.neighbours)
                busy.append(one_round(crafts, peers, modes))
                neighbours.stop()
        reports = {own: worker.finish() for own, worker in crafts.items()}
        report = reports["craft"]
        for worker in peers.values():
            worker.finish()
        threads = ["--threads", str(arguments.threads)]
        memory = {}
        if arguments.memory:
            memory = peak_memory([*base, *threads], {peer: [*start, *threads] for peer, start in commands.items()})

    first = {name: [step["action"] for step in entry["firstLosses"]] for name, entry in zip(LISTS, report["steps"])}
    difference = {}
    if comparable:
        for peer, worker in peers.items():
            for name in set(LISTS) & set(modes):
                pairs = zip(first[name], worker.ready["losses"][name])
                difference[f"{peer} {name}"] = max(abs(a - b) for a, b in pairs)
    result = {
        "ms": {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]},
        "ratios": {
            f"{own} {name} / {peer} {mode}": ratios(rows, f"{own} {name}", f"{peer} {mode}")
            for own in crafts for peer in peers for mode in modes for name in [mode.removesuffix("-naive")]
            if (peer == "bf16") == (own == "craft-bf16")
        },
        "loss difference": difference,
        "combine and update / one pass over memory": {
            name: round(entry["updateOverBound"], 2) for name, entry in zip(LISTS, report["steps"])
        },
        "peak MiB of a CRaFT step": memory,
        "slowdown beside neighbours": {
            key: ratios([{"busy": b[key], "free": a[key]} for a, b in zip(rows, busy)], "busy", "free")
            for key in (rows[0] if busy else [])
        },
    }
    for own in crafts:
        for name in ["craft", "craft-visual"]:
            result["ratios"][f"{own} {name} / {own} baseline"] = ratios(rows, f"{own} {name}", f"{own} baseline")
        if own != "craft":
            for name in LISTS:
                result["ratios"][f"{own} {name} / craft {name}"] = ratios(rows, f"{own} {name}", f"craft {name}")
    print(json.dumps(result, indent=1))
    wrong = {key: value for key, value in difference.items() if value > 1e-3 and "bf16" not in key}
    if wrong:
        sys.exit(f"losses differ by more than 1e-3, so the work is not the same: {wrong}")


if __name__ == "__main__":
    main()
