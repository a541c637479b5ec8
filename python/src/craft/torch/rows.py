"""The gradients of the objectives: one flat float32 row for each, parameters in block order."""

import re

import numpy as np
import torch
from torch import nn

from craft import runtime
from craft.runtime import SCOPES, CraftError

# What a block is, from a parameter's name, by scope.
_BLOCK_OF = {
    "tensor": lambda name: name,
    # The outermost numbered module, "model.layers.3"; outside of one, the first part of the name.
    "layer": lambda name: (re.match(r"(?:.*?\.)?\d+(?=\.)", name) or re.match(r"[^.]*", name))[0],
    "module": lambda name: name.split(".")[0],
    "global": lambda _: "all",
}


def _layer(block: str) -> int:
    return int(found[1]) if (found := re.search(r"(?:^|\.)(\d+)(?:\.|$)", block)) else -1


def _trainable(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """By the names that the model has without wrappers; a tied parameter once."""
    named = model.named_parameters()
    return [(n.replace("_orig_mod.", "").removeprefix("module."), p) for n, p in named if p.requires_grad]


class Parameters:
    """The trainable parameters of a model, in the order of the model, each once."""

    def __init__(self, model: nn.Module):
        named = _trainable(model)
        if not named:
            raise CraftError("the model has no trainable parameter")
        self.names = [n for n, _ in named]
        self.tensors = [p for _, p in named]
        for name, p in named:
            if not p.dtype.is_floating_point:
                raise CraftError(f"parameter '{name}' is {p.dtype}: gradients of real numbers can be combined")
        self.model = model

    def tell(self, session: runtime.Session) -> None:
        """Tells a session who the blocks are for each scope."""
        for scope in SCOPES:
            sizes: dict[str, int] = {}
            for name, p in zip(self.names, self.tensors):
                block = _BLOCK_OF[scope](name)
                sizes[block] = sizes.get(block, 0) + p.numel()
            session.blocks(scope, list(sizes.values()), list(sizes), [_layer(b) for b in sizes])

    def in_blocks(self, scope: str) -> list[int]:
        """Sorts the parameters by block; returns the block of each."""
        blocks = {b: i for i, b in enumerate(dict.fromkeys(map(_BLOCK_OF[scope], self.names)))}
        order = sorted(range(len(self.names)), key=lambda j: blocks[_BLOCK_OF[scope](self.names[j])])
        self.names = [self.names[j] for j in order]
        self.tensors = [self.tensors[j] for j in order]
        return [blocks[_BLOCK_OF[scope](n)] for n in self.names]

    def check_unchanged(self) -> None:
        """Refuses parameters that came, went, froze or thawed since."""
        now, known = dict(_trainable(self.model)), dict(zip(self.names, self.tensors))
        changed = sorted(now.keys() ^ known.keys())
        # FSDP puts gathered parameters in the place of its own between forward and backward.
        if not changed and not hasattr(self.tensors[0], "to_local"):
            changed = [name for name in self.names if now[name] is not known[name]]
        if changed:
            raise CraftError(
                f"the trainable parameters are not those the Combiner was made with ({', '.join(changed[:3])} came or went): "
                f"make a new Combiner after parameters are added, frozen or thawed"
            )


class Rows:
    """m rows of n numbers, and which parameters each objective reached.

    locals: the tensors of this process behind the parameters. blocks: the block of each.
    """

    def __init__(self, count: int, locals: list[torch.Tensor], blocks: list[int]):
        devices = {p.device for p in locals}
        if len(devices) > 1:
            raise CraftError(f"the trainable parameters are on {', '.join(map(str, devices))}: they have to be on one device")
        sizes = [p.numel() for p in locals]
        self.blocks = blocks
        self.offsets = np.zeros(max(blocks) + 2, np.int64)
        np.add.at(self.offsets, np.asarray(blocks) + 1, sizes)
        self.offsets = np.cumsum(self.offsets)
        self.memory = torch.zeros(count, sum(sizes), device=devices.pop())
        self.views = [[v.view(p.shape) for v, p in zip(row.split(sizes), locals)] for row in self.memory]
        self.reached = torch.zeros(count, len(locals), dtype=torch.bool)

    def clear(self) -> None:
        self.reached.zero_()

    def add(self, i: int, gradients: list[torch.Tensor | None], fresh: bool) -> None:
        """Adds an objective's gradients to its row; `fresh`: in place of what is there."""
        got = [j for j, g in enumerate(gradients) if g is not None]
        if fresh:
            # Numbers of the last step lie between the parameters that were reached.
            if len(got) < len(gradients):
                torch._foreach_zero_([self.views[i][j] for j, g in enumerate(gradients) if g is None])
            torch._foreach_copy_([self.views[i][j] for j in got], [gradients[j] for j in got])
        else:
            torch._foreach_add_([self.views[i][j] for j in got], [gradients[j].to(torch.float32) for j in got])
        self.reached[i, got] = True

    def gram(self, present: list[int]) -> np.ndarray:
        """[k, m, m] in float64."""
        if self.memory.device.type == "cpu":
            return runtime.gram([self.memory[i].data_ptr() for i in present], self.offsets)
        rows = self.memory if len(present) == len(self.memory) else self.memory[present]
        out = rows.new_zeros(len(self.offsets) - 1, len(present), len(present), dtype=torch.float64)
        for b, (start, end) in enumerate(zip(self.offsets, self.offsets[1:])):
            for at in range(start, end, 1 << 22):  # the float64 copy of a piece is all that is ever in memory
                piece = rows[:, at : min(at + (1 << 22), end)].double()
                out[b].addmm_(piece, piece.T)
        return out.cpu().numpy()

    def combine(self, present: list[int], weights: np.ndarray) -> int:
        """Writes the weighted sum of the rows that are present into the first of them; returns which that is."""
        first = present[0]
        if self.memory.device.type == "cpu":
            addresses = [self.memory[i].data_ptr() for i in present]
            runtime.weighted_sum(addresses, self.offsets, weights, addresses[0])
            return first
        by_parameter = weights[self.blocks].T.tolist()
        torch._foreach_mul_(self.views[first], by_parameter[0])
        for i, factors in zip(present[1:], by_parameter[1:]):
            torch._foreach_add_(self.views[first], torch._foreach_mul(self.views[i], factors))
        return first

    def put(self, present: list[int], gradient: np.ndarray) -> int:
        """Writes a gradient that a plugin gave itself."""
        self.memory[present[0]].copy_(torch.from_numpy(gradient))
        return present[0]
