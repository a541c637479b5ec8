"""What a module inside a model gives, by the module's name."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from craft.runtime import CraftError


class Features:
    """The output of the tapped module in the last forward pass."""

    def __init__(self, name: str):
        self._name, self._value = name, None

    @property
    def value(self) -> torch.Tensor:
        """With its graph, so that a loss on it reaches the model. Of a tuple the first element."""
        if self._value is None:
            raise CraftError(f"'{self._name}' gave nothing yet: run the model inside of the context first")
        return self._value


@contextmanager
def features(model: nn.Module, name: str) -> Iterator[Features]:
    """Taps a module: ``with features(model, "model.layers.12") as tap: model(x); drift(tap.value, anchor)``."""
    modules = {n.removeprefix("module.").replace("_orig_mod.", ""): m for n, m in model.named_modules()}
    if name not in modules:
        last = name.rsplit(".", 1)[-1]
        near = [n for n in modules if n.endswith(last)][:5] or list(modules)[1:6]
        raise CraftError(f"the model has no module '{name}'; it has {', '.join(near)}, ...")
    tap = Features(name)

    def keep(_module, _inputs, output):
        tap._value = output[0] if isinstance(output, (tuple, list)) else output

    hook = modules[name].register_forward_hook(keep)
    try:
        yield tap
    finally:
        hook.remove()
