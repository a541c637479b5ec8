"""Kills craft and fails its writes, and looks at what is left.

    python3 scripts/faults/campaign.py kills  [--moments 1000] [--only train,merge]
    python3 scripts/faults/campaign.py writes [--every 1] [--only train,merge]

kills:  SIGKILL for the command and its children, each time at another random moment.
writes: the n-th write, flush, rename, link or new file fails, for every n: as on a full disk (from then on), and as a broken one once
        (failing_writes.c).

After each: no file that has its final name is half-written; what was there before still is; a failed command ends with a sentence and no
signal; one that succeeds has written everything; and the command, given again, gives what it gives undisturbed, byte for byte. What does
not hold is a loss: it is printed, its folder kept, and the exit status is 1.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CRAFT = os.environ.get("CRAFT", str(ROOT / ".build/release/craft"))
PLUGINS = "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"
QUICK = ["--batch-size", "1", "--questions", "none", "--hold-out-every", "0", "--threads", "1", "--no-augment", "--quiet"]


# MARK: - Reading what is left

def read_safetensors(data):
    """{name: (type, shape, bytes)}; fails on anything that is not whole."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if end > len(body):
            raise ValueError(f"tensor {name} ends beyond the file")
        tensors[name] = (entry["dtype"], entry["shape"], body[begin:end])
    return tensors


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def final_files(folder):
    """Files that have their final names: those in or named *.partial are not there for a reader."""
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.endswith(".partial") for part in relative.parts):
            yield relative.as_posix(), path


def damage(folder):
    """The first file that is half-written, with what is wrong; None when all are whole."""
    for name, path in final_files(folder):
        data = path.read_bytes()
        try:
            if name.endswith(".safetensors"):
                read_safetensors(data)
            elif name.endswith(".json"):
                json.loads(data)
            elif name.endswith(".jsonl"):
                # A log is appended to; its readers leave out a last line that has no end.
                for line in data.split(b"\n")[:-1]:
                    json.loads(line)
            if name.endswith("manifest.json") and "checkpoints/" in name:
                for file, size in json.loads(data)["files"].items():
                    if (path.parent / file).stat().st_size != size:
                        raise ValueError(f"{file} has another size than the manifest says")
        except (ValueError, KeyError, OSError, struct.error) as error:
            return f"{name}: {error}"
    return None


def whole_checkpoints(run):
    """The folders of complete checkpoints, oldest first."""
    return sorted(path.parent for path in (run / "checkpoints").glob("step-*/manifest.json") if "." not in path.parent.name)


def run_result(run):
    """What a run amounts to: its last checkpoint's bytes and the losses it logged."""
    checkpoints = whole_checkpoints(run)
    result = {name: path.read_bytes() for name, path in final_files(checkpoints[-1])}
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    result["losses"] = [(step["step"], step["VLA Train/Loss"]) for step in steps if "VLA Train/Loss" in step]
    result["name"] = checkpoints[-1].name
    result["done"] = (run / "done.json").read_bytes()
    return result


# MARK: - Scenarios

class Scenario:
    """A command, what it starts from, and what it leaves. `out` is its folder for one try."""

    def __init__(self, work):
        self.work = work

    def prepare(self, out):
        """What is there before the command."""

    def command(self, out):
        raise NotImplementedError

    def again(self, out):
        """The command that a user gives after a failure."""
        return self.command(out)

    def result(self, out):
        """What the finished command amounts to, to be compared for equality."""
        return {name: path.read_bytes() for name, path in final_files(out)}

    def kept(self, out):
        """What must outlast any failure: {name: bytes}."""
        return {}


class Train(Scenario):
    name = "train"

    def command(self, out):
        return ["train", "--model", self.work.model, "--plugins", PLUGINS, "--steps", "6", "--save-every", "2", "--keep-checkpoints", "2",
                "--ema", "0.9", "--out", out / "run"] + QUICK

    def again(self, out):
        run = out / "run"
        if whole_checkpoints(run):
            return ["train", "--resume", run, "--steps", "6", "--quiet"]
        shutil.rmtree(run, ignore_errors=True)
        return self.command(out)

    def result(self, out):
        return run_result(out / "run")


class Resume(Train):
    name = "resume"

    def prepare(self, out):
        self.work.copy(self.work.run, out / "run")

    def command(self, out):
        return ["train", "--resume", out / "run", "--steps", "6", "--quiet"]

    def kept(self, out):
        # Until a later checkpoint is whole, the one it began from.
        if len(whole_checkpoints(out / "run")) > 1:
            return {}
        return {f"run/checkpoints/step-000002/{name}": data for name, data in self.work.first_checkpoint.items()}


class Pretrain(Scenario):
    name = "pretrain"

    def command(self, out):
        return ["pretrain", "--model", self.work.model, "--data", self.work.questions, "--steps", "3", "--save-every", "1", "--out", out / "run", "--export", out / "model"] + QUICK

    def again(self, out):
        shutil.rmtree(out / "run", ignore_errors=True)
        shutil.rmtree(out / "model", ignore_errors=True)
        return self.command(out)

    def result(self, out):
        result = run_result(out / "run")
        result.update({"model/" + name: path.read_bytes() for name, path in final_files(out / "model")})
        return result


class Ablate(Scenario):
    name = "ablate"

    def command(self, out):
        return ["ablate", "--combos", "BaselineL1;BaselineL1+AnchorVariants", "--seeds", "0", "--no-trial", "--out", out / "grid", "--",
                "--model", self.work.model, "--steps", "2", "--save-every", "1"] + QUICK[:-1]

    def result(self, out):
        return {run.parent.name: run_result(run.parent) for run in sorted((out / "grid").rglob("run.json"))}


class Export(Scenario):
    name = "export"

    def command(self, out):
        return ["model", "export", self.work.run, "--out", out / "model", "--dtype", "bf16", "--max-shard-size", "200000", "--threads", "1"]


class Merge(Scenario):
    name = "merge"

    def command(self, out):
        return ["model", "merge", self.work.adapter_run, "--out", out / "model", "--threads", "1"]


class Blend(Scenario):
    name = "blend"

    def command(self, out):
        return ["model", "blend", self.work.model, self.work.run, "--alpha", "0.5", "--out", out / "model"]


class Stats(Scenario):
    name = "stats"

    def prepare(self, out):
        (out / "statistics.json").write_text('{"mine": true}')

    def command(self, out):
        return ["data", "stats", ROOT / "Assets/libero-sample", "--out", out / "statistics.json"]

    def kept(self, out):
        # Either the old file or the new one.
        data = (out / "statistics.json").read_bytes() if (out / "statistics.json").exists() else b""
        return {"statistics.json": data if data in self.work.whole_statistics else self.work.whole_statistics[0]}


SCENARIOS = [Train, Resume, Pretrain, Ablate, Export, Merge, Blend, Stats]


# MARK: - Carrying them out

class Work:
    """The folder of a campaign, with the small model and runs that commands start from."""

    def __init__(self, folder):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.model = folder / "model"
        self.make_model()
        # The shipped questions are held out; here they are trained on.
        self.questions = folder / "questions"
        for part in ("train", "test"):
            shutil.copytree(ROOT / "Assets/easy-vqa-heldout/test", self.questions / part)
        shutil.copy(ROOT / "Assets/easy-vqa-heldout/answers.txt", self.questions)
        self.run, self.adapter_run = folder / "from", folder / "from-adapter"
        train = ["train", "--model", self.model, "--plugins", PLUGINS, "--steps", "2", "--save-every", "2", "--keep-checkpoints", "2"]
        craft(train + ["--ema", "0.9", "--out", self.run] + QUICK, check=True)
        craft(train + ["--lora-rank", "2", "--out", self.adapter_run] + QUICK, check=True)
        self.first_checkpoint = {name: path.read_bytes() for name, path in final_files(self.run / "checkpoints/step-000002")}
        craft(["data", "stats", ROOT / "Assets/libero-sample", "--out", folder / "statistics.json"], check=True)
        self.whole_statistics = [b'{"mine": true}', (folder / "statistics.json").read_bytes()]
        self.reference = {}

    def make_model(self):
        """A fixture's model with the words of the shipped tokeniser and the sample's two cameras."""
        source = ROOT / "Tests/Fixtures/vla/one-tower-llama-base"
        self.model.mkdir()
        config = json.loads((source / "config.json").read_text())
        tokens = len(json.loads((ROOT / "Assets/small-vlm/tokenizer.json").read_text())["model"]["vocab"])
        tokens = max(tokens, 600)
        config["text_config"]["vocab_size"] = tokens
        config["text_config"]["pad_token_id"] = None
        config["craft_small"]["cameras"] = 2
        (self.model / "config.json").write_text(json.dumps(config))
        shutil.copy(ROOT / "Assets/small-vlm/tokenizer.json", self.model)
        tensors = read_safetensors((source / "model.safetensors").read_bytes())
        values = random.Random(0)
        for name, (kind, shape, _) in list(tensors.items()):
            if kind == "F32" and ("embed_tokens" in name or "lm_head" in name):
                data = struct.pack(f"<{tokens * shape[1]}f", *(values.gauss(0, 0.02) for _ in range(tokens * shape[1])))
                tensors[name] = (kind, [tokens, shape[1]], data)
        write_safetensors(self.model / "model.safetensors", tensors)

    def copy(self, source, target):
        shutil.copytree(source, target)

    def undisturbed(self, scenario):
        """The result without faults, the seconds it takes, and how many changes to files it makes."""
        out = self.fresh(scenario.name + "-reference")
        scenario.prepare(out)
        counter = self.folder / "count"
        began = time.monotonic()
        craft(scenario.command(out), check=True, environment=faults(out, counter))
        seconds = time.monotonic() - began
        return scenario.result(out), seconds, struct.unpack("<q", counter.read_bytes())[0]

    def fresh(self, name):
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return out


def faults(out, counter, at=0, kind="full"):
    counter.unlink(missing_ok=True)
    environment = {"LD_PRELOAD": str(shim), "FAULT_UNDER": str(out), "FAULT_COUNT": str(counter), "FAULT_KIND": kind}
    return environment | ({"FAULT_AT": str(at)} if at else {})


def craft(arguments, check=False, environment={}, kill_after=None):
    """Runs craft; returns its exit status (negative: the signal) and what it printed."""
    process = subprocess.Popen([CRAFT, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                               env=os.environ | {"CRAFT_ASSETS": str(ROOT / "Assets")} | environment)
    try:
        error = process.communicate(timeout=kill_after or 300)[0].decode(errors="replace")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        error = process.communicate()[0].decode(errors="replace")
        if not kill_after:
            return -signal.SIGALRM, error
    if check and process.returncode:
        sys.exit(f"craft {' '.join(map(str, arguments))}\n{error}")
    return process.returncode, error


def losses(scenario, work, out, status, error, killed):
    """What the failure cost, as sentences."""
    found = damage(out)
    if found:
        yield f"half-written: {found}"
    for name, data in scenario.kept(out).items():
        path = out / name
        if not path.exists() or path.read_bytes() != data:
            yield f"lost: {name}"
    if not killed:
        if status < 0:
            yield f"ended by signal {-status}: {error[-300:]}"
        # An ablation lists the runs that failed below its table.
        elif status and "Error: " not in error and "runs failed" not in error:
            yield f"no sentence: {error[-300:]!r}"
    try:
        if scenario.result(out) == work.reference[scenario.name]:
            return  # All of it is there, whatever came after.
    except (OSError, ValueError, KeyError, IndexError):
        pass
    if status == 0:
        yield "exit status 0, and something is missing"
    status, error = craft(scenario.again(out))
    if status:
        return (yield f"cannot go on: {error[-400:]}")
    try:
        result = scenario.result(out)
    except (OSError, ValueError, KeyError, IndexError) as problem:
        return (yield f"going on, something is missing: {problem}")
    if result != work.reference[scenario.name]:
        names = [name for name in work.reference[scenario.name] if result.get(name) != work.reference[scenario.name][name]]
        yield f"going on gives another result: {names + sorted(set(result) - set(work.reference[scenario.name]))}"


def tries(mode, options, seconds, changes):
    """(label, environment maker, seconds until a kill) of each try of a scenario."""
    if mode == "kills":
        moments = random.Random(options.seed)
        for number in range(options.moments):
            yield f"kill {number}", None, moments.uniform(0, seconds)
    else:
        for at in range(1, changes + 1, options.every):
            for kind in ("full", "broken"):
                yield f"{kind} at {at} of {changes}", (at, kind), None


def main():
    global shim
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["kills", "writes"])
    parser.add_argument("--moments", type=int, default=1000, help="kills of each command")
    parser.add_argument("--every", type=int, default=1, help="fail every N-th change only")
    parser.add_argument("--only", help="commands, separated by commas: " + ", ".join(scenario.name for scenario in SCENARIOS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / ".build-faults")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    shim = options.work / "failing_writes.so"
    subprocess.run(["cc", "-O1", "-Wall", "-shared", "-fPIC", "-o", shim, ROOT / "scripts/faults/failing_writes.c", "-ldl"], check=True)
    work = Work(options.work / options.mode)
    total = 0
    for kind in SCENARIOS:
        if options.only and kind.name not in options.only.split(","):
            continue
        scenario = kind(work)
        work.reference[kind.name], seconds, changes = work.undisturbed(scenario)
        done = bad = ended = 0
        for label, fault, moment in tries(options.mode, options, seconds, changes):
            out = work.fresh(f"{kind.name}-try")
            scenario.prepare(out)
            environment = faults(out, work.folder / "count", *fault) if fault else {}
            status, error = craft(scenario.command(out), environment=environment, kill_after=moment)
            done += 1
            ended += status != 0
            found = list(losses(scenario, work, out, status, error, killed=moment is not None and status < 0))
            for sentence in found:
                print(f"{kind.name}: {label}: {sentence}", flush=True)
            if found:
                bad += 1
                keep = work.folder / f"{kind.name}-loss-{bad}"
                shutil.rmtree(keep, ignore_errors=True)
                out.rename(keep)
        total += bad
        print(f"{kind.name:10} {changes:5} changes {seconds:6.2f} s  {done:6} tries {ended:6} failed or killed {bad:4} losses", flush=True)
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
