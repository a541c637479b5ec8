#!/usr/bin/env python3
"""Writes Tests/Fixtures/loss-strategies.json: what TorchJD and the formulas of LibMTL give, step by step, in float64.

    python scripts/reference/loss_strategies.py [FILE]

STCH, GeometricMean and IMTLL are TorchJD's scalarizers, differentiated by autograd; IMTLL's scales are learned with SGD.
MoDo and SDMGrad are its weightings, on matrices so large that its epsilon is nothing beside them. MoCo is written out after LibMTL (weighting/MoCo.py, without its 1e-8 under the gradients' lengths) and after the paper. Needs
torch and torchjd==0.18.0.
"""

import json
import pathlib
import sys

import torch
from torchjd.aggregation import MoDoWeighting, SDMGradWeighting
from torchjd.aggregation._utils.simplex import project_onto_simplex
from torchjd.scalarization import IMTLL, STCH, GeometricMean

torch.set_default_dtype(torch.float64)
FILE = pathlib.Path(__file__).resolve().parent.parent.parent / "Tests/Fixtures/loss-strategies.json"


def factors(scalarizer, losses):
    values = torch.tensor(losses, requires_grad=True)
    scalarizer(values).backward()
    return values.grad.tolist()


def draw(generator, steps, m):
    return (10 ** (4 * torch.rand(steps, m, generator=generator) - 2)).tolist()


def moco(gradients, losses, *, libmtl, beta=0.5, beta_sigma=0.5, gamma=0.1, gamma_sigma=0.5, rho=0.0):
    m, n = gradients[0].shape
    y, v, result = torch.zeros(m, n), torch.ones(m) / m, []
    for step, (g, loss) in enumerate(zip(gradients, losses), start=1):
        h = g / g.norm(dim=1, keepdim=True) * torch.tensor(loss)[:, None] if libmtl else g
        y = y - beta / step**beta_sigma * (y - h)
        moved = v - gamma / step**gamma_sigma * ((y @ y.T + rho * torch.eye(m)) @ v)
        v = torch.softmax(moved, -1) if libmtl else project_onto_simplex(moved)
        result.append((y.T @ v).tolist())
    return result


def main():
    generator = torch.Generator().manual_seed(5)
    cases = []
    for m in range(1, 9):
        losses = draw(generator, 4, m)
        weights, reference = torch.rand(m, generator=generator), torch.rand(m, generator=generator) - 0.5
        text = (" ".join(map(repr, weights.tolist())), " ".join(map(repr, reference.tolist())))
        for plugin, scalarizer in [
            ("GeometricMean", GeometricMean()), ("STCH", STCH(0.1)), ("STCH:mu=0.001", STCH(0.001)),
            (f"STCH:mu=2:preference={text[0]}:ideal={text[1]}", STCH(2, weights, reference)),
        ]:
            cases.append({"plugin": plugin, "losses": losses, "factors": [factors(scalarizer, row) for row in losses]})
        scalarizer = IMTLL(m)
        optimizer = torch.optim.SGD(scalarizer.parameters(), lr=0.005)
        found = []
        for row in losses:
            optimizer.zero_grad()
            found.append(factors(scalarizer, row))
            optimizer.step()
        cases.append({"plugin": "IMTLL:lr=0.005", "losses": losses, "factors": found})
    tracked = []
    for m in (1, 2, 3, 5, 8):
        # In single precision, which is what the host gives.
        gradients = [torch.randn(m, 6, generator=generator).float().double() for _ in range(4)]
        losses = torch.rand(4, m, generator=generator).tolist()
        for plugin, settings in [
            ("MoCo", {"libmtl": True}),
            ("MoCo:simplex=projection:normalize=false:gamma=0.3:rho=0.1:beta=0.9",
             {"libmtl": False, "gamma": 0.3, "rho": 0.1, "beta": 0.9}),
        ]:
            tracked.append({"plugin": plugin, "gradients": [g.tolist() for g in gradients], "losses": losses,
                            "combined": moco(gradients, losses, **settings)})
    cross = []
    for m in range(1, 9):
        modo, sdmgrad = MoDoWeighting(gamma=1e-7, rho=1e5), SDMGradWeighting()
        matrices, found = [], {"modo": [], "sdmgrad": []}
        for _ in range(3):
            common = torch.randn(m, 12, generator=generator)
            first, second = (1e3 * (common + torch.randn(m, 12, generator=generator)) for _ in range(2))
            matrices.append((first @ second.T).tolist())
            found["modo"].append(modo(first @ second.T).tolist())
            found["sdmgrad"].append(sdmgrad(first @ second.T).tolist())
        cross.append({"matrices": matrices, **found})
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    path.write_text(json.dumps({"cases": cases, "tracked": tracked, "cross": cross}, separators=(",", ":")) + "\n")
    print(f"{len(cases)} and {len(tracked)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
