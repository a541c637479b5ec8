"""Hands published files to craft, and prints what became of them as a table.

    python3 scripts/published.py FOLDER...

Collects every features.json, dataset_info.json, config.json, adapter_config.json, tokenizer.json and dataset_statistics.json below the
folders; a bare git repository counts as a folder of its newest commit. Each is read by the craft of this checkout (CRAFT names another),
beside whatever its reader needs: an adapter beside a model folder, descriptions without records. A file is accepted, or refused in a
sentence that names it; anything else (a signal, no sentence, a sentence about something else) is a fault, and the exit status is 1.
"""
import collections
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
CRAFT = os.environ.get("CRAFT", str(ROOT / ".build/release/craft"))
KINDS = ("features.json", "dataset_info.json", "config.json", "adapter_config.json", "tokenizer.json", "dataset_statistics.json")
SAMPLE = ROOT / "Assets/libero-sample/libero_spatial_no_noops/1.0.0"


def files(folder):
    """(kind, where it is from, bytes)."""
    if (folder / "HEAD").exists() and (folder / "objects").exists():
        listing = subprocess.run(["git", "-C", folder, "ls-tree", "-r", "-z", "HEAD"], capture_output=True, check=True).stdout
        for line in listing.decode(errors="replace").split("\0"):
            name = line.partition("\t")[2]
            if name.rpartition("/")[2] in KINDS:
                found = subprocess.run(["git", "-C", folder, "cat-file", "blob", line.split()[2]], capture_output=True)
                if found.returncode == 0:
                    yield name.rpartition("/")[2], f"{folder.parent.name}/{name}", found.stdout
        return
    for path in sorted(folder.rglob("*.json")):
        if path.name in KINDS and path.is_file():
            yield path.name, str(path), path.read_bytes()


def write_tensor(path, name, shape):
    count = 1
    for size in shape:
        count *= size
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * count]}}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * count))


def read(kind, data, folder):
    """Puts the file into a folder where craft reads it; returns the command, and the words of a complaint that comes after it."""
    if kind in ("features.json", "dataset_info.json"):
        version = folder / "d/1.0.0"
        version.mkdir(parents=True)
        for name in KINDS[:2]:
            shutil.copy(SAMPLE / name, version / name)
        (version / kind).write_bytes(data)
        return ["data", "info", folder], r"cannot be opened|no such file|has no .*records|is not there"
    if kind == "config.json":
        (folder / kind).write_bytes(data)
        return ["model", "info", folder], r"model\.safetensors"
    if kind == "adapter_config.json":
        shutil.copytree(ROOT / "Tests/Fixtures/vla/one-tower-llama-base", folder / "m")
        adapter = folder / "m/lora_adapter"
        adapter.mkdir()
        (adapter / kind).write_bytes(data)
        write_tensor(adapter / "adapter_model.safetensors", "base_model.model.none.lora_A.weight", [1, 1])
        return ["model", "info", folder / "m"], r"adapter_model\.safetensors"
    if kind == "tokenizer.json":
        (folder / kind).write_bytes(data)
        return ["model", "tokenize", "Pick up the bowl, é 12", "--model", folder / kind], None
    shutil.copytree(ROOT / "Tests/Fixtures/vla/one-tower-llama-base", folder / "m")
    (folder / "m" / kind).write_bytes(data)
    shutil.copy(ROOT / "Assets/small-vlm/tokenizer.json", folder / "m")
    return ["serve", "--checkpoint", folder / "m", "--port", "0"], r"tokenizer\.json|embeddings|dimensions"


def verdict(kind, data):
    """("accepted" | "refused" | "fault", the sentence without its path)."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        command, later = read(kind, data, folder)
        try:
            done = subprocess.run([CRAFT, *map(str, command)], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            return "fault", "takes more than a minute"
        error = done.stderr.decode(errors="replace").strip().splitlines()
        sentence = next((line for line in error if line.startswith("Error: ")), error[-1] if error else "")
        if done.returncode == 0:
            return "accepted", ""
        if done.returncode < 0 or not sentence.startswith("Error: "):
            return "fault", f"exit status {done.returncode}: {sentence}"
        if later and kind + ":" not in sentence and re.search(later, sentence):
            return "accepted", ""
        short = sentence.removeprefix("Error: ").replace(name, "")
        return ("refused" if kind in sentence else "fault"), short


def main():
    seen, rows, refusals = set(), collections.defaultdict(collections.Counter), collections.defaultdict(list)
    sizes = collections.Counter()
    for folder in map(pathlib.Path, sys.argv[1:]):
        for kind, place, data in files(folder):
            if (kind, data) in seen:
                continue
            seen.add((kind, data))
            what, sentence = verdict(kind, data)
            rows[kind][what] += 1
            sizes[kind] += len(data)
            if what != "accepted":
                refusals[kind, what, sentence].append(place)
    print("| file | read | bytes | accepted | refused in a sentence | faults |\n|---|---|---|---|---|---|")
    for kind in KINDS:
        row = rows[kind]
        print(f"| {kind} | {sum(row.values())} | {sizes[kind]} | {row['accepted']} | {row['refused']} | {row['fault']} |")
    print()
    for (kind, what, sentence), places in sorted(refusals.items()):
        print(f"{what} {len(places)}x {sentence[:300]}\n    e.g. {places[0]}")
    sys.exit(any(row["fault"] for row in rows.values()))


if __name__ == "__main__":
    main()
