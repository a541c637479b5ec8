"""2k steps are k, a checkpoint, and k more: bit for bit."""

import io

import pytest
import torch
from conftest import batch, losses, make, names

import craft.torch as ct

RULES = [
    "CRaFTProjection:scope=layer,CRaFTDual:budget=0.05:lr=0.1,ClipGradNorm:max_norm=1",
    "PCGrad:scope=layer,nuPI:objective=retention",
    "FAMO",
    "DWA:interval=1",
    "GradNorm",
    "UW",
    "GradVac",
    "CAGrad",
    "NashMTL:update_weights_every=3",
]


class Run:
    """Dropout, accumulation, a schedule, AdamW: all that a run carries."""

    def __init__(self, rule: str):
        self.model = make(dropout=0.1)
        self.combiner = ct.Combiner(self.model, names(), rule, every=2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 1e-3)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 10)
        self.taken = 0

    def go(self, steps: int) -> None:
        for _ in range(steps):
            for half in range(2):
                x, y = batch(seed=2 * self.taken + half)
                (self.combiner.loss(losses(self.model(x), y)) / 2).backward()
            self.optimizer.step()
            self.schedule.step()
            self.taken += 1

    def save(self) -> bytes:
        file = io.BytesIO()
        parts = {n: getattr(self, n).state_dict() for n in ("model", "combiner", "optimizer", "schedule")}
        torch.save(parts | {"random": torch.get_rng_state(), "taken": self.taken}, file)
        return file.getvalue()

    def load(self, data: bytes, without: str = "") -> None:
        parts = torch.load(io.BytesIO(data), weights_only=True)
        for name in {"model", "combiner", "optimizer", "schedule"} - {without}:
            getattr(self, name).load_state_dict(parts[name])
        torch.set_rng_state(parts["random"])
        self.taken = parts["taken"]

    def bits(self):
        return [p.detach().clone() for p in self.model.parameters()], self.combiner.multipliers


def same(one, other) -> bool:
    return one[1] == other[1] and all(torch.equal(a, b) for a, b in zip(one[0], other[0], strict=True))


@pytest.mark.parametrize("rule", RULES)
def test_two_k_steps_are_k_and_k(rule):
    whole = Run(rule)
    whole.go(4)
    saved = whole.save()
    whole.go(4)
    resumed = Run(rule)
    resumed.load(saved)
    resumed.go(4)
    assert same(whole.bits(), resumed.bits()) and resumed.combiner.step == 8


@pytest.mark.parametrize("rule", RULES[:1] + ["FAMO", "GradNorm", "UW"])
def test_the_state_is_needed(rule):
    whole = Run(rule)
    whole.go(4)
    saved = whole.save()
    whole.go(4)
    resumed = Run(rule)
    resumed.load(saved, without="combiner")
    resumed.go(4)
    assert not same(whole.bits(), resumed.bits())


def test_other_plugins_settings_and_numbers_of_processes_are_refused():
    state = Run("PCGrad,CRaFTDual:budget=0.05").combiner.state_dict()
    other = Run("PCGrad,CRaFTDual:budget=0.06").combiner
    with pytest.raises(ct.CraftError, match="CRaFTDual with settings .* allow_plugin_changes=True"):
        other.load_state_dict(state)
    other.load_state_dict(state, allow_plugin_changes=True)
    changed = {**state, "plugins": [{**state["plugins"][0], "sha256": "0" * 64}, *state["plugins"][1:]]}
    mine = Run("PCGrad,CRaFTDual:budget=0.05").combiner
    with pytest.raises(ct.CraftError, match="with sha256 000"):
        mine.load_state_dict(changed)
    with pytest.raises(ct.CraftError, match="of 4 processes, and these are 1"):
        mine.load_state_dict({**state, "world_size": 4})
    with pytest.raises(ct.CraftError, match="objectives"):
        mine.load_state_dict({**state, "objectives": ["a"]})
    with pytest.raises(ct.CraftError, match="damaged"):
        mine.load_state_dict({**state, "session": state["session"][:-1]})


def test_state_is_taken_between_steps():
    run = Run("PCGrad")
    x, y = batch()
    (run.combiner.loss(losses(run.model(x), y)) / 2).backward()
    with pytest.raises(ct.CraftError, match="middle of an accumulation"):
        run.combiner.state_dict()
    (run.combiner.loss(losses(run.model(x), y)) / 2).backward()
    with pytest.raises(ct.CraftError, match="between backward and optimizer.step"):
        run.combiner.state_dict()
    run.optimizer.step()
    assert run.combiner.state_dict()["step"] == 1
