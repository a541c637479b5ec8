"""One process, several with whole parameters, several with shards: where gradients come from and how they become common."""

import torch
import torch.distributed as dist

from craft.runtime import CraftError

try:
    from torch.distributed.tensor import DTensor
except ImportError:  # older than 2.5

    class DTensor:  # noqa: D101 - no parameter is one
        pass


class Whole:
    """Each process has all parameters. Gradients are taken with autograd.grad, which wakes no hook of DDP; the rows are summed
    over the processes here."""

    def __init__(self, group: dist.ProcessGroup | None):
        self.group = group
        self.size = dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1

    @staticmethod
    def local(p: torch.Tensor) -> torch.Tensor:
        return p

    @staticmethod
    def as_gradient(view: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
        return view if view.dtype == p.dtype else view.to(p.dtype)

    def gradients(self, loss, parameters, factor, retain: bool) -> list[torch.Tensor | None]:
        try:
            return list(torch.autograd.grad(loss, parameters, factor.to(loss), retain_graph=retain, allow_unused=True))
        except RuntimeError as error:
            if "use_reentrant=True" in str(error):
                raise CraftError(
                    "the model uses re-entrant activation checkpointing, under which gradients of several objectives cannot be "
                    "kept apart: pass use_reentrant=False to torch.utils.checkpoint (HF: gradient_checkpointing_kwargs="
                    "{'use_reentrant': False})"
                ) from error
            raise

    def reduce(self, row: torch.Tensor):
        """Begins to sum a row over the processes; the caller waits for what it returns."""
        return dist.all_reduce(row, group=self.group, async_op=True) if self.size > 1 else None

    def mean(self, row: torch.Tensor) -> None:
        if self.size > 1:
            row.div_(self.size)

    def reduce_gram(self, gram: torch.Tensor) -> None:
        """Rows are whole: each process has the same."""

    def sum(self, message: torch.Tensor) -> None:
        if self.size > 1:
            dist.all_reduce(message, group=self.group)

    def same(self, number: int) -> bool:
        """Whether every process has this number."""
        if self.size == 1:
            return True
        ends = torch.tensor([number, -number])
        dist.all_reduce(ends, op=dist.ReduceOp.MAX, group=self.group)
        return bool(ends[0] == -ends[1])


class Sharded(Whole):
    """FSDP2: each process has a shard of every parameter. A real backward pass of each objective reduces its gradients."""

    def __init__(self, model: torch.nn.Module, parameters: list[torch.Tensor]):
        meshes = {p.device_mesh for p in parameters}
        if len(meshes) > 1 or next(iter(meshes)).ndim > 1:
            raise CraftError("parameters are sharded over several dimensions: shard them over one, fully_shard(module, mesh=...)")
        super().__init__(next(iter(meshes)).get_group())
        self.model = model

    @staticmethod
    def local(p):
        return p.to_local()

    @staticmethod
    def as_gradient(view, p):
        view = view if view.dtype == p.dtype else view.to(p.dtype)
        return DTensor.from_local(view, p.device_mesh, p.placements, run_check=False, shape=p.shape, stride=p.stride())

    def gradients(self, loss, parameters, factor, retain):
        if hasattr(self.model, "set_is_last_backward"):
            self.model.set_is_last_backward(not retain)
            self.model.set_reshard_after_backward(not retain)  # the next objective needs the same gathered parameters
        loss.backward(factor.to(loss), retain_graph=retain)
        gradients = [None if p.grad is None else p.grad.to_local() for p in parameters]
        for p in parameters:
            p.grad = None
        return gradients

    def reduce(self, row):
        return None  # FSDP's hooks did

    def mean(self, row):
        pass

    def reduce_gram(self, gram):
        dist.all_reduce(gram, group=self.group)


def of(model: torch.nn.Module, parameters: list[torch.Tensor], group: dist.ProcessGroup | None) -> Whole:
    """How the parameters of a model are spread over processes."""
    if type(model).__module__.startswith("deepspeed") or any(hasattr(p, "ds_id") for p in parameters):
        raise CraftError(
            "DeepSpeed takes one backward pass per step and hands out no gradients before it: use DDP or FSDP2 "
            "(torch.distributed.fsdp.fully_shard) instead"
        )
    if type(model).__name__ == "FullyShardedDataParallel":
        raise CraftError("FSDP1 flattens parameters into one: use FSDP2 (torch.distributed.fsdp.fully_shard) instead")
    sharded = sum(isinstance(p, DTensor) for p in parameters)
    if not sharded:
        return Whole(group)
    if sharded < len(parameters):
        raise CraftError("some parameters are sharded and some are not: apply fully_shard to the whole model as well")
    return Sharded(model, parameters)
