"""A reference that computes one safetensors file from a folder's inputs: check it against what is stored, or write it."""

import argparse
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def check(folder, name, compute):
    """Prints the worst error relative to each tensor's largest value; whether it is above 1e-5."""
    got, want = compute(folder), load_file(Path(folder) / name)
    assert set(got) == set(want), set(got) ^ set(want)
    worst = max(((got[k] - want[k]).abs().max() / want[k].abs().max().clamp_min(1e-12)).item() for k in want)
    print(f"{folder}: {len(want)} tensors, worst relative error {worst:.1e}")
    return worst > 1e-5


def main(name, compute, description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["check", "write"])
    parser.add_argument("folders", nargs="+", metavar="DIR")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "check":
        sys.exit(any([check(folder, name, compute) for folder in arguments.folders]))
    for folder in arguments.folders:
        save_file(compute(folder), Path(folder) / name)
