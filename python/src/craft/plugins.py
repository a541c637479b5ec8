"""Plugins by themselves: which there are, what they can be set to, and the weights they give.

    craft.plugins.load("UPGrad").weights(gram)      # gram: [m, m], or [k, m, m] for k blocks
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from craft import locations
from craft.runtime import SCOPES, CraftError, Session

__all__ = ["Plugin", "list_plugins", "load"]

# Settings by which plugins name the objectives they are about.
_NAMING = ("objective", "constraint")


def list_plugins(folders: Sequence[str] | None = None) -> dict[str, Path]:
    """Plugins that are found by name, with their files."""
    found: dict[str, Path] = {}
    for folder in locations.plugin_folders() if folders is None else folders:
        for path in sorted(Path(folder).glob("lib*.so")):
            name = path.name.removeprefix("lib").removesuffix(".so")
            if name != "craft_runtime" and b"craft_plugin_entry" in path.read_bytes():
                found.setdefault(name, path)
    return found


class Plugin:
    """A plugin, or a list of them, as a rule that turns Gram matrices into weights.

    It keeps what the plugins carry from call to call, as they do from step to step in training; `reset` begins anew.
    """

    def __init__(self, plugins: str, objectives: Sequence[str] | None = None, folders: Sequence[str] | None = None):
        self.plugins, self._folders, self._objectives = plugins, folders, objectives
        self._session: Session | None = None
        self._shape: tuple[int, int] | None = None
        self._step = 0
        plan = Session(plugins, objectives or (), folders).describe()["plan"]
        self.settings: list[dict[str, str]] = [p["settings"] for p in plan["plugins"]]
        self.sha256: list[str] = [p["sha256"] for p in plan["plugins"]]
        self.versions: list[str] = [p["version"] for p in plan["plugins"]]

    def reset(self) -> None:
        """Forgets what was carried from call to call."""
        self._session, self._shape, self._step = None, None, 0

    def weights(
        self,
        gram: np.ndarray,
        losses: Sequence[float] | None = None,
        *,
        numel: Sequence[int] | None = None,
        rate: float = 0.0,
        step: int | None = None,
    ) -> np.ndarray:
        """[m], or [k, m]: the factors of the gradients whose inner products are `gram`, [m, m] or [k, m, m].

        losses: [m], 1 each when they are not given. numel: [k], parameters of each block, 1 when not given. step: counted from
        0 over the calls when not given. Settings of `scope` make no difference: blocks are those of `gram`.
        """
        gram = np.asarray(gram, np.float64)
        matrices = gram[None] if gram.ndim == 2 else gram
        if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or not matrices.size:
            raise CraftError(f"the Gram matrix has shape {gram.shape}; expected [m, m] or [k, m, m]")
        k, m, _ = matrices.shape
        if losses is not None and len(losses) != m:
            raise CraftError(f"there are {len(losses)} losses for {m} gradients")
        session = self._open(k, m, numel)
        session.begin(self._step if step is None else step, rate)
        try:
            session.losses([1.0] * m if losses is None else [float(x) for x in losses])
            weights = session.combine(matrices)
            session.finish()
        except BaseException:
            session.abandon()
            raise
        self._step += 1
        return weights[0] if gram.ndim == 2 else weights

    def multipliers(self) -> dict[str, float]:
        """What the next call multiplies each objective with at first."""
        if self._session is None:
            raise CraftError("multipliers are known after the first call of weights")
        return self._session.multipliers()

    def _open(self, k: int, m: int, numel: Sequence[int] | None) -> Session:
        if self._session is None:
            names = list(self._objectives) if self._objectives is not None else self._names(m)
            if len(names) != m:
                raise CraftError(f"the Gram matrix is of {m} gradients, the objectives are {', '.join(names)}")
            session = Session(self.plugins, names, self._folders)
            for scope in SCOPES:
                session.blocks(scope, [1] * k if numel is None else numel)
            session.plan()
            self._session, self._shape = session, (k, m)
        if self._shape != (k, m):
            raise CraftError(
                f"the Gram matrices are {k} of {m} gradients, and were {self._shape[0]} of {self._shape[1]} before: call "
                f"reset(), or load the plugin once more"
            )
        return self._session

    def _names(self, m: int) -> list[str]:
        """Objectives that settings name, in that order, and as many others as there are gradients."""
        named = [s[key] for s in self.settings for key in _NAMING if s.get(key)]
        names = list(dict.fromkeys(named))[:m]
        return names + [f"objective_{i}" for i in range(len(names), m)]

    def __repr__(self) -> str:
        return f"craft.plugins.load({self.plugins!r})"


def load(plugins: str, *, objectives: Sequence[str] | None = None, folders: Sequence[str] | None = None) -> Plugin:
    """``load("UPGrad")``, ``load("PCGrad:order=ascending")``, ``load("path/libMine.so")``, or several joined by commas.

    objectives: names of the gradients by row, for plugins whose settings name some. None: those that the settings name, first.
    """
    return Plugin(plugins, objectives, folders)
