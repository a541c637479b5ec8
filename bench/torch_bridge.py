"""The Combiner against code written by hand and against TorchJD, on whatever device is there, in a few minutes.

    PYTHONPATH=python/src OMP_NUM_THREADS=1 python bench/torch_bridge.py [--width 256] [--layers 4] [--rounds 11]

Ways take turns, so that clocks and other jobs move all of them; what is printed is the median, over the rounds, of the ratio to
the hand-written loop of the same round, with the quartiles. A step is the forward pass, the backward passes and the combination.
"""

import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

import craft.torch as ct
from craft import runtime

try:
    from torchjd.aggregation import PCGrad, UPGrad
    from torchjd.autojac import jac_to_grad, mtl_backward
except ImportError:
    mtl_backward = None


class Net(nn.Module):
    def __init__(self, m: int, width: int, layers: int):
        super().__init__()
        block = lambda: nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True)  # noqa: E731
        self.embed, self.layers = nn.Embedding(256, width), nn.ModuleList(block() for _ in range(layers))
        self.heads = nn.ModuleList(nn.Linear(width, 256) for _ in range(m))

    def trunk(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return x


def by_hand(parameters, losses):
    """PCGrad of everything as one vector, as a careful user writes it: flat rows, one product, one sum."""
    rows = []
    for i, loss in enumerate(losses):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=i < len(losses) - 1, allow_unused=True)
        rows.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for g, p in zip(gradients, parameters)]))
    rows = torch.stack(rows)
    gram = (rows @ rows.T).double().cpu()
    weights = torch.zeros(len(losses), dtype=torch.float64)
    for i in range(len(losses)):
        own = torch.zeros_like(weights)
        own[i] = 1
        for j in range(len(losses)):
            if j != i and (dot := gram[j] @ own) < 0:
                own[j] -= dot / gram[j, j]
        weights += own
    combined = weights.to(rows) @ rows
    for p, part in zip(parameters, combined.split([p.numel() for p in parameters])):
        p.grad = part.view_as(p)


def ways(m: int, width: int, layers: int, device: str):
    """By name: a function that takes one step on the same model and batch."""
    torch.manual_seed(0)
    model = Net(m, width, layers).to(device)
    parameters, names = list(model.parameters()), [f"o{i}" for i in range(m)]
    x = torch.randint(256, (8, 64), device=device)
    y = [torch.randint(256, (8, 64), device=device) for _ in range(m)]
    optimizer = torch.optim.SGD(parameters, 0.0)

    def losses(features):
        return [F.cross_entropy(head(features).flatten(0, 1), t.flatten()) for head, t in zip(model.heads, y)]

    def plain():
        sum(losses(model.trunk(x))).backward()

    def combiner(rule):
        combiner = ct.Combiner(model, names, rule)

        def step():
            combiner.loss(dict(zip(names, losses(model.trunk(x))))).backward()
            combiner.finish_step(0.0)

        return step

    def torchjd(aggregator, chunk):
        def step():
            features = model.trunk(x)
            mtl_backward(losses(features), features=features, parallel_chunk_size=chunk)
            jac_to_grad([p for n, p in model.named_parameters() if not n.startswith("heads")], aggregator)

        return step

    found = {"hand-written PCGrad": lambda: by_hand(parameters, losses(model.trunk(x))), "one plain backward": plain}
    for rule in ("PCGrad:scope=global", "PCGrad:scope=tensor", "UPGrad:scope=global"):
        found[f"Combiner {rule}"] = combiner(rule)
    if mtl_backward:
        for name, aggregator in (("PCGrad", PCGrad), ("UPGrad", UPGrad)):
            for kind, chunk in (("sequential", 1), ("default", None)):
                found[f"TorchJD {name}, {kind}"] = torchjd(aggregator(), chunk)
    return found, optimizer, sum(p.numel() for p in parameters)


def timed(step, device: str) -> float:
    start = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def steps(arguments, device: str) -> None:
    for m in (2, 4, 8):
        found, optimizer, size = ways(m, arguments.width, arguments.layers, device)
        times = {name: [] for name in found}
        for round in range(arguments.rounds + 2):
            for name, step in found.items():
                optimizer.zero_grad()
                spent = timed(step, device)
                if round >= 2:
                    times[name].append(spent)
        first = times["hand-written PCGrad"]
        print(f"m = {m}, {size / 1e6:.1f} M parameters: hand-written {statistics.median(first) * 1e3:.1f} ms; ratios to it")
        for name, spent in times.items():
            low, middle, high = statistics.quantiles([a / b for a, b in zip(spent, first)], n=4)
            print(f"  {name:32s} {middle:.2f}  ({low:.2f} to {high:.2f})")


def passes(rounds: int) -> None:
    """On the CPU: two rows of 25 M numbers in 200 blocks, against one pass over the same memory."""
    import numpy as np

    n, k = 25_000_000, 200
    rows = torch.randn(2, n)
    offsets = np.linspace(0, n, k + 1).astype(np.int64)
    weights, out = np.full((k, 2), 0.5), torch.empty(n)
    addresses = [r.data_ptr() for r in rows]
    work = {
        "reading both rows (sum)": lambda: rows.sum(),
        "Gram in float64": lambda: runtime.gram(addresses, offsets),
        "one row to another (copy)": lambda: out.copy_(rows[0]),
        "weighted sum": lambda: runtime.weighted_sum(addresses, offsets, weights, out.data_ptr()),
    }
    times = {name: [timed(step, "cpu") for _ in range(rounds)] for name, step in work.items()}
    for name, spent in times.items():
        print(f"  {name:32s} {statistics.median(spent) * 1e3:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name() if device == 'cuda' else 'cpu'}, {torch.get_num_threads()} thread(s)")
    passes(arguments.rounds)
    steps(arguments, device)


if __name__ == "__main__":
    main()
