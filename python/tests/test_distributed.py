"""Two processes with half of the batch each are one process with all of it: DDP and FSDP2 over gloo, on the CPU."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_work import train

CASES = ["none", "ddp", "ddp-unused", "ddp-static", "ddp-accumulation", "fsdp", "fsdp-kept", "fsdp-accumulation", "one-differs"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """By rank and case: what two processes came to."""
    folder = tmp_path_factory.mktemp("processes")
    work = Path(__file__).with_name("distributed_work.py")
    arguments = [folder / "rendezvous", ",".join(CASES), folder / "results"]
    started = [
        subprocess.Popen([sys.executable, work, str(rank), *arguments], stderr=subprocess.PIPE, text=True) for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in started]
    assert [p.returncode for p in started] == [0, 0], "\n".join(errors)
    return [torch.load(f"{folder}/results.{rank}", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("case", CASES[:-1])
def test_two_processes_are_one(results, case):
    plain = {"ddp-unused": "ddp-unused"}.get(case, "none")
    expected, multipliers, metrics = train("none" if plain == "none" else "unused", 0, 1)
    for rank in range(2):
        found, own, measured = results[rank][case]
        if plain != "none":  # the parameters that nothing reaches are the last two
            found = found[:-2]
        assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) < 2e-6
        assert own == pytest.approx(multipliers, rel=1e-6) and own["retention"] > 0.5
        assert measured["loss.action"] == pytest.approx(metrics["loss.action"], rel=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(results[0][case][0], results[1][case][0]))
    assert results[0][case][1] == results[1][case][1]


def test_processes_that_differ_are_found(results):
    for rank in range(2):
        assert "step 2: processes came to different weights or multipliers" in results[rank]["one-differs"]
