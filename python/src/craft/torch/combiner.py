"""Several losses, one gradient: what `Combiner` does in a step."""

import hashlib
import math
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from craft import runtime
from craft.runtime import CraftError
from craft.torch import processes
from craft.torch.rows import Parameters, Rows

# Names of hooks that this host never has, and why.
_ABSENT = {
    "gram_cross": "a PyTorch loop keeps one gradient for each objective, not one for each half of the micro-batches",
    "parameters": "the Combiner does not copy parameters",
    "initial": "the Combiner does not keep initial parameters",
    "drift2": "the Combiner does not keep initial parameters",
    "drift_dot": "the Combiner does not keep initial parameters",
}
# What a plugin may decide that would have no effect here.
_WITHOUT_EFFECT = {
    "rate": "learning rates of blocks",
    "pull": "a way back to the initial parameters",
    "lr_scale.": "learning rates of parameter groups",
    "route.": "which parameters an objective reaches",
    "probe.": "probes",
    "stream.": "data streams",
}


class _Loss(torch.autograd.Function):
    """A scalar whose backward pass runs one for each objective.

    The objectives' graphs are kept out of the outer one: as its inputs they would be walked again, after they were freed.
    """

    @staticmethod
    def forward(ctx, anchor, combiner, losses, value):
        ctx.combiner, ctx.losses = combiner, losses
        return value

    @staticmethod
    def backward(ctx, factor):
        losses, ctx.losses = ctx.losses, None
        if losses is None:
            raise CraftError(
                "this loss was differentiated already, and its objectives' graphs are gone: compute the losses anew for a second "
                "backward pass"
            )
        ctx.combiner._backward(losses, factor)
        return None, None, None, None


class Combiner:
    """Combines the gradients of several losses by craft's plugins, in a training loop of one's own.

    ``combiner.loss({...}).backward()`` leaves the combined gradient in ``.grad`` of every trainable parameter that some loss
    reached. Clipping, scalers and schedulers work on it as ever. After ``optimizer.step()`` the multipliers move.

    model: as it is trained, wrapped by DDP, `torch.compile` or `fully_shard` if it is to be.
    objectives: names of the losses, in the order of their rows.
    plugins: as ``craft train --plugins`` takes it: "A,B:key=value".
    every: backward passes for one optimizer step. Divide each loss by it, as without a Combiner.
    sync: in place of `every`: says whether the backward pass that runs now ends a step, for frameworks that know it.
    loss_scale: a GradScaler's get_scale. ``.grad`` stays scaled, for unscale_; plugins are told the truth.
    steps, batch, seed: of the run, for plugins that ask. folders: where plugins are looked up before the usual places.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        objectives: Sequence[str],
        plugins: str,
        *,
        every: int = 1,
        sync: Callable[[], bool] | None = None,
        loss_scale: Callable[[], float] | None = None,
        process_group=None,
        steps: int | None = None,
        batch: int | None = None,
        seed: int = 0,
        folders: Sequence[str] = (),
        compare_ranks_every: int = 100,
    ):
        if every < 1:
            raise CraftError(f"every is {every}; expected 1 or more backward passes for a step")
        self.every, self.sync, self.loss_scale = every, sync, loss_scale
        self._parameters = Parameters(model)
        self._processes = processes.of(model, self._parameters.tensors, process_group)
        self._compare_every = compare_ranks_every
        self._open(plugins, list(objectives), folders, {"seed": seed, "steps": steps, "batch": batch})
        self._rows: Rows | None = None  # made in the first backward pass: frameworks move models to devices before it
        self._anchor = torch.zeros((), requires_grad=True)
        self._given: dict[int, torch.Tensor] = {}  # by parameter: what the last step left in .grad
        self.step = 0
        self.metrics: dict[str, float] = {}
        self.stop: str | None = None
        self._learning_rate = 0.0
        self._is_combined = False
        self._begin_accumulation()
        _allow_second_backward_of_compiled_code()
        _follow_optimizers(self)

    def _open(self, plugins: str, objectives: list[str], folders: Sequence[str], facts: Mapping[str, int | None]) -> None:
        from craft import locations

        self._session = runtime.Session(plugins, objectives, [*folders, *locations.plugin_folders()])
        description = self._session.describe()
        self._plugins = [
            {key: p[key] for key in ("instance", "version", "sha256", "settings")} for p in description["plan"]["plugins"]
        ]
        for plugin in description["plan"]["plugins"]:
            for name in {n for hook in plugin["hooks"] for n in hook["provides"]}:
                for prefix, what in _WITHOUT_EFFECT.items():
                    if name == prefix or (prefix.endswith(".") and name.startswith(prefix)):
                        raise CraftError(
                            f"plugin {plugin['instance']} decides {what} ('{name}'), which a Combiner cannot apply: leave it out"
                        )
        self.objectives = self._session.objectives
        if own := self.objectives[len(objectives) :]:
            raise CraftError(
                f"plugins give the objectives {', '.join(own)} themselves, from values that a Combiner does not have: compute "
                f"these losses in PyTorch and leave the plugins out"
            )
        if not self.objectives:
            raise CraftError("objectives is empty: name the losses that are combined")
        for name, value in facts.items():
            if value is not None:
                self._session.fact(name, value)
        reads = {item["name"] for item in description["host"]}
        for name in reads & _ABSENT.keys():
            self._session.absent(name, _ABSENT[name])
        self._reads_gradients = "grads" in reads
        self._parameters.tell(self._session)
        self._session.plan()
        decisions = self._session.describe()["decisions"]
        self.scope: str = decisions["block_scope"]
        self._blocks = self._parameters.in_blocks(self.scope)

    def _begin_accumulation(self) -> None:
        self._micro = 0
        # [micro-batches that had the objective; sums of their losses] by objective; sums of the outer factors.
        self._sums = torch.zeros(2, len(self.objectives), dtype=torch.float64)
        self._factors = torch.zeros((), dtype=torch.float64)

    # MARK: A step

    @property
    def multipliers(self) -> dict[str, float]:
        """By objective, what the next step uses."""
        return self._session.multipliers()

    def loss(self, losses: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """A scalar to call ``.backward()`` on, or to return to a framework that does.

        Its value is the sum of the losses times their multipliers, for logs.
        """
        self._check(losses)
        multipliers = self.multipliers
        value = sum(multipliers[name] * loss.detach() for name, loss in losses.items())
        return _Loss.apply(self._anchor, self, dict(losses), value)

    def _check(self, losses: Mapping[str, torch.Tensor]) -> None:
        if unknown := [name for name in losses if name not in self.objectives]:
            raise CraftError(f"there is no objective '{unknown[0]}'; there are {', '.join(self.objectives)}")
        if not losses:
            raise CraftError(f"no loss is given; the objectives are {', '.join(self.objectives)}")
        for name, loss in losses.items():
            if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or loss.dim() > 0:
                found = f"of shape {list(loss.shape)}" if isinstance(loss, torch.Tensor) else f"a {type(loss).__name__}"
                raise CraftError(f"the loss of '{name}' is {found}; expected a scalar tensor: take the mean or the sum of it")
            if not loss.requires_grad:
                raise CraftError(
                    f"the loss of '{name}' needs no gradient: it was made under torch.no_grad(), detached, or of frozen "
                    f"parameters only"
                )

    def _backward(self, losses: dict[str, torch.Tensor], factor: torch.Tensor) -> None:
        try:
            self._take(losses, factor)
        except BaseException:
            self._begin_accumulation()
            raise

    def _take(self, losses: dict[str, torch.Tensor], factor: torch.Tensor) -> None:
        if self._micro == 0:
            self._begin_step()
        self._micro += 1
        ends = self.sync() if self.sync else self._micro == self.every
        self._factors += factor.detach().double().cpu() if factor.device.type == "cpu" else factor.detach().double()
        last = [name for name in self.objectives if name in losses][-1]
        pending = []
        for i, name in enumerate(self.objectives):
            if name in losses:
                gradients = self._processes.gradients(losses[name], self._parameters.tensors, factor, name != last)
                if all(g is None for g in gradients):
                    raise CraftError(
                        f"the loss of '{name}' reaches no trainable parameter of the Combiner's model: was it made by another "
                        f"model, or of detached values?"
                    )
                self._rows.add(i, gradients, fresh=not self._sums[0, i])
                del gradients
                self._sums[0, i] += 1
                self._sums[1, i] += losses[name].detach().double().to(self._sums.device)
            elif ends and not self._sums[0, i]:
                self._rows.memory[i].zero_()
            # Sent behind the next objective's backward pass. Every process sends every row.
            if ends and (work := self._processes.reduce(self._rows.memory[i])):
                pending.append(work)
        if ends:
            for work in pending:
                work.wait()
            self._combine()

    def _begin_step(self) -> None:
        parameters = self._parameters
        parameters.check_unchanged()
        if self._is_combined:
            self._session.abandon()
            self._is_combined = False
            warnings.warn(
                "the last combined gradient was followed by no optimizer step, so that multipliers did not move; with an "
                "optimizer that is not a torch.optim.Optimizer call combiner.finish_step() after it",
                stacklevel=2,
            )
        for j, (name, p) in enumerate(zip(parameters.names, parameters.tensors)):
            if p.grad is None:
                continue
            if p.grad is not self._given.get(j) and bool(p.grad.any()):
                raise CraftError(
                    f"parameter '{name}' has a gradient already that the Combiner did not make: call zero_grad() before the "
                    f"first backward pass of a step, and give every loss to the Combiner"
                )
            p.grad = None
        self._given.clear()
        if self._rows is None:
            self._rows = Rows(len(self.objectives), [self._processes.local(p) for p in parameters.tensors], self._blocks)
        self._rows.clear()
        if self._sums.device != self._rows.memory.device:
            self._sums, self._factors = self._sums.to(self._rows.memory.device), self._factors.to(self._rows.memory.device)

    def _reduce(self) -> None:
        """Makes losses means over processes, and the rows too."""
        world = self._processes
        reached = self._rows.reached.to(self._sums.device, torch.float64)
        message = torch.cat([self._sums.flatten(), reached.flatten(), self._factors.view(1) / world.size])
        world.sum(message)
        n = self._sums.numel()
        message = message.cpu()
        self._sums = message[:n].view(2, -1)
        self._rows.reached = message[n:-1].view(reached.shape) > 0
        self._factors = message[-1]
        for row in self._rows.memory:
            world.mean(row)

    def _combine(self) -> None:
        self._reduce()
        scale = float(self.loss_scale()) if self.loss_scale else 1.0
        self._check_factors(scale)
        counts, sums = self._sums.tolist()
        present = [i for i, count in enumerate(counts) if count]
        losses = [sums[i] / counts[i] if counts[i] else None for i in range(len(counts))]
        gram = torch.from_numpy(self._rows.gram(present))
        if self._processes.size > 1 and isinstance(self._processes, processes.Sharded):
            on_device = gram.to(self._rows.memory.device)
            self._processes.reduce_gram(on_device)
            gram = on_device.cpu()
        gram = gram.numpy()
        if self.loss_scale and not np.isfinite(gram).all():
            # The scaler finds it, leaves the step out and lowers its scale.
            self._fill(present, np.full(gram.shape[:2], math.nan))
            self._begin_accumulation()
            return
        for name, loss in zip(self.objectives, losses):
            if loss is not None and not math.isfinite(loss):
                raise CraftError(f"step {self.step}: the loss of '{name}' is {loss}; nothing was written to .grad")
        for row, i in enumerate(present):
            if not np.isfinite(gram[:, row, row]).all():
                block = int(np.flatnonzero(~np.isfinite(gram[:, row, row]))[0])
                raise CraftError(
                    f"step {self.step}: the gradient of '{self.objectives[i]}' is not finite in block "
                    f"'{self._session.describe()['blocks'][block]}'; nothing was written to .grad"
                )
        self._session.begin(self.step, self._learning_rate)
        try:
            self._session.losses(losses)
            grads = self._gradients(present, scale)
            weights = self._session.combine(gram / scale**2, self._rows.memory.shape[1], grads)
            combined = self._session.array("combined") if grads is not None else None
        except BaseException:
            self._session.abandon()
            raise
        self._is_combined = True
        self._fill(present, weights, None if combined is None else combined * np.float32(scale))
        self._begin_accumulation()
        if self._compare_every and self.step % self._compare_every == 0:
            self._compare_processes(weights)

    def _gradients(self, present: list[int], scale: float) -> np.ndarray | None:
        """f32 [m, n] in CPU memory, for plugins that read whole gradients."""
        if not self._reads_gradients:
            return None
        if isinstance(self._processes, processes.Sharded):
            raise CraftError("a plugin reads whole gradients ('grads'), which no process has under FSDP: use DDP, or another one")
        rows = self._rows.memory if len(present) == len(self.objectives) else self._rows.memory[present]
        return (rows.cpu() / scale if scale != 1 else rows.cpu()).numpy()

    def _check_factors(self, scale: float) -> None:
        total = float(self._factors)
        if self._micro > 1 and math.isclose(total, self._micro * scale, rel_tol=1e-3):
            raise CraftError(
                f"step {self.step} has {self._micro} backward passes, and none of their losses was divided by {self._micro}: write "
                f"(combiner.loss(...) / {self._micro}).backward(). With HF Trainer set trainer.loss_is_scaled_for_ga = False "
                f"(craft.torch.frameworks.follow_trainer does)"
            )
        if not self.loss_scale and total >= 128 and math.log2(total).is_integer():
            raise CraftError(
                f"the loss arrives scaled by {total:g}, as by a GradScaler: pass loss_scale=scaler.get_scale to the Combiner, so that "
                f"plugins see true gradients"
            )

    def _fill(self, present: list[int], weights: np.ndarray, combined: np.ndarray | None = None) -> None:
        rows = self._rows
        first = rows.combine(present, weights) if combined is None else rows.put(present, combined)
        reached = rows.reached[present].any(0).tolist()
        for j, p in enumerate(self._parameters.tensors):
            if reached[j]:  # the others keep None, so that no weight decay touches them, as without a Combiner
                p.grad = self._processes.as_gradient(rows.views[first][j], p)
                self._given[j] = p.grad

    def finish_step(self, learning_rate: float | None = None) -> None:
        """Moves the multipliers. Runs by itself after the step of any torch.optim.Optimizer that has the model's parameters."""
        if not self._is_combined:
            return
        if learning_rate is not None:
            self._learning_rate = learning_rate
        self._is_combined = False
        try:
            self.metrics = self._session.finish()
        except BaseException:
            self._session.abandon()
            raise
        self.stop = self._session.stop()
        self.step += 1

    def _after(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._is_combined:
            return
        mine = {id(p) for p in self._parameters.tensors}
        if any(id(p) in mine for group in optimizer.param_groups for p in group["params"]):
            self.finish_step(float(optimizer.param_groups[0]["lr"]))

    def _compare_processes(self, weights: np.ndarray) -> None:
        content = weights.tobytes() + repr(sorted(self.multipliers.items())).encode() + str(self.step).encode()
        number = int.from_bytes(hashlib.sha256(content).digest()[:7], "little")
        if not self._processes.same(number):
            raise CraftError(
                f"step {self.step}: processes came to different weights or multipliers, {self.multipliers} here: load the same "
                f"state_dict in all of them, and give each the same plugins"
            )

    # MARK: State

    def state_dict(self) -> dict:
        """All that goes on from step to step, between two steps. Save it beside the model's and the optimizer's."""
        if self._micro:
            raise CraftError("state_dict in the middle of an accumulation: save after optimizer.step()")
        if self._is_combined:
            raise CraftError("state_dict between backward and optimizer.step(): save after optimizer.step()")
        return {
            "version": 1,
            "step": self.step,
            "learning_rate": self._learning_rate,
            "world_size": self._processes.size,
            "objectives": list(self.objectives),
            "plugins": [dict(p) for p in self._plugins],
            "session": torch.frombuffer(bytearray(self._session.save()), dtype=torch.uint8),
        }

    def load_state_dict(
        self, state: Mapping, *, allow_plugin_changes: bool = False, allow_world_size_change: bool = False
    ) -> None:
        """Goes on where `state_dict` was taken. Refuses other plugins, settings, objectives or numbers of processes."""
        if state.get("version") != 1:
            raise CraftError(f"the Combiner's state has version {state.get('version')}; expected 1")
        if state["objectives"] != self.objectives:
            raise CraftError(f"the state is of the objectives {state['objectives']}; these are {self.objectives}")
        if not allow_plugin_changes:
            for saved, mine in zip(state["plugins"], self._plugins):
                for key in ("instance", "settings", "sha256"):
                    if saved[key] != mine[key]:
                        raise CraftError(
                            f"the state is of plugin {saved['instance']} with {key} {saved[key]}, and this one has {mine[key]}: "
                            f"use the same file and settings, or pass allow_plugin_changes=True"
                        )
            if len(state["plugins"]) != len(self._plugins):
                raise CraftError(f"the state is of {len(state['plugins'])} plugins, and these are {len(self._plugins)}")
        if state["world_size"] != self._processes.size and not allow_world_size_change:
            raise CraftError(
                f"the state is of {state['world_size']} processes, and these are {self._processes.size}: the run would go on with other "
                f"batches. Pass allow_world_size_change=True if that is meant"
            )
        if self._is_combined:
            self._session.abandon()
            self._is_combined = False
        self._session.load(bytes(state["session"].numpy()))
        self.step, self._learning_rate = state["step"], state["learning_rate"]
        self._begin_accumulation()


# MARK: Around

_combiners: "weakref.WeakSet[Combiner]" = weakref.WeakSet()
_hook = None


def _follow_optimizers(combiner: Combiner) -> None:
    """One hook for the process: every optimizer's step is followed, whoever made it and whatever wraps it."""
    global _hook
    _combiners.add(combiner)
    if _hook is None:

        def after(optimizer, *_):
            for combiner in list(_combiners):
                combiner._after(optimizer)

        _hook = register_optimizer_step_post_hook(after)


def _allow_second_backward_of_compiled_code() -> None:
    """Compiled code frees its buffers in the first backward pass otherwise; every further objective needs them."""
    try:
        import torch._functorch.config as config
    except ImportError:
        return
    if getattr(config, "donated_buffer", False):
        config.donated_buffer = False
