"""Writes Tests/Fixtures/kernels/adamw.json: a few steps of torch.optim.AdamW in float32.

    python scripts/reference/adamw_reference.py      (needs torch; made with 2.13.0)

The gradient of each step is a weighted sum of two, as ck_adamw forms it. Betas, rates and weights are exact in float32,
so both sides see the same numbers.
"""

import json
import pathlib

import torch

N, STEPS = 19, 12


def run(name, lr, betas, eps, weight_decay, weights, seed):
    generator = torch.Generator().manual_seed(seed)
    f32 = lambda values: [float(v) for v in torch.tensor(values, dtype=torch.float32)]
    (lr, eps, weight_decay), betas, weights = f32([lr, eps, weight_decay]), f32(betas), f32(weights)
    p = torch.nn.Parameter(torch.randn(N, generator=generator))
    initial = p.detach().tolist()
    optimizer = torch.optim.AdamW([p], lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, foreach=False)
    gradients = torch.randn(STEPS, 2, N, generator=generator) * torch.logspace(-4, 1, N)
    after = []
    for step in range(STEPS):
        p.grad = weights[0] * gradients[step, 0] + weights[1] * gradients[step, 1]
        optimizer.step()
        if step + 1 in (1, 2, STEPS):
            state = optimizer.state[p]
            after.append({"step": step + 1, "p": p.detach().tolist(), "m": state["exp_avg"].tolist(),
                          "v": state["exp_avg_sq"].tolist()})
    return {"name": name, "lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps, "weight_decay": weight_decay,
            "weights": weights, "p": initial, "gradients": gradients.tolist(), "after": after}


def rounded(value):
    """Nine digits identify a float32."""
    if isinstance(value, float):
        return float("%.9g" % value)
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return value


cases = [
    run("defaults", 1e-3, (0.9, 0.999), 1e-8, 0.01, (1.0, 0.0), 1),
    run("two gradients", 2e-2, (0.9, 0.999), 1e-8, 0.1, (0.75, 0.3), 2),
    run("no decay, fast moments", 5e-4, (0.8, 0.95), 1e-6, 0.0, (1.0, -0.5), 3),
    run("no momentum, large epsilon, full decay", 1e-3, (0.0, 0.5), 0.1, 1.0, (1.0, 0.25), 4),
    run("slowest second moment", 1e-3, (0.99, 0.999999), 1e-12, 0.1, (1.0, 0.0), 5),
]
folder = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures/kernels"
folder.mkdir(parents=True, exist_ok=True)
(folder / "adamw.json").write_text(json.dumps(rounded(cases)) + "\n")
