"""What each of two processes does in test_distributed.py: ``python distributed_work.py RANK FILE CASE OUTPUT``.

The whole batch in one process is the reference; each of two takes half of it. SGD: AdamW would turn rounding into steps.
"""

import os
import sys

import torch
import torch.distributed as dist
from conftest import batch, losses, make, names
from torch.nn.parallel import DistributedDataParallel

import craft.torch as ct

RULE = "PCGrad:scope=layer:order=ascending,CRaFTDual:budget=0.05:init=0.3:lr=0.1,ClipGradNorm:max_norm=1"
STEPS = 3


def shard(model, **settings):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for layer in model.layers:
        fully_shard(layer, mesh=mesh, **settings)
    return fully_shard(model, mesh=mesh, **settings)


def wrap(case: str, model):
    if case.startswith("fsdp"):
        return shard(model, **({"reshard_after_forward": False} if case == "fsdp-kept" else {}))
    if case.startswith("ddp"):
        settings = {"ddp-unused": {"find_unused_parameters": True}, "ddp-static": {"static_graph": True}}
        return DistributedDataParallel(model, **settings.get(case, {}))
    return model


def train(case: str, rank: int, world: int):
    """Parameters, multipliers and metrics after the steps."""
    model = make(width=16)
    if case == "ddp-unused":
        model.spare = torch.nn.Linear(3, 3)
    model = wrap(case, model)
    every = 2 if case.endswith("accumulation") else 1
    combiner = ct.Combiner(model, names(), RULE, every=every, compare_ranks_every=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    for step in range(STEPS):
        x, y = batch(size=8, seed=step)
        for micro in range(every):
            size = 8 // world // every
            part = slice((rank * every + micro) * size, (rank * every + micro + 1) * size)
            values = losses(model(x[part]), [t[part] for t in y])
            if case == "one-absent" and (rank == 1 or world == 1) and step == 1:
                values.pop("retention")
            (combiner.loss(values) / every).backward()
        if case == "one-differs" and step == 1 and rank == 1:
            combiner._session.set("lambda.retention", 0.9)
        optimizer.step()
        optimizer.zero_grad()
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters()]
    return [p.detach().clone() for p in whole], combiner.multipliers, combiner.metrics


if __name__ == "__main__":
    rank, file, case, output = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    results = {}
    for one in case.split(","):
        try:
            results[one] = train(one, rank, 2)
        except ct.CraftError as error:
            results[one] = str(error)
        dist.barrier()
    torch.save(results, f"{output}.{rank}")
    dist.destroy_process_group()
