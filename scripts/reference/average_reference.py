"""Writes Tests/Fixtures/kernels/average.json: torch.optim.swa_utils.AveragedModel over a few steps of float32 weights.

    python scripts/reference/average_reference.py      (needs torch; made with 2.13.0)

With a power the decay of update t is min(decay, 1 - t^-power), which is timm's ModelEmaV3 (use_warmup) and diffusers'
EMAModel (use_ema_warmup) with gamma 1.
"""

import json
import pathlib

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

N, STEPS = 37, 9


def run(name, decay, power, seed):
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Module()
    model.p = torch.nn.Parameter(torch.randn(N, generator=generator))
    decays = [decay if power is None else min(decay, 1 - t**-power) for t in range(1, STEPS + 1)]
    # The first call of update_parameters copies; after it n_averaged is the number of the update.
    warm = lambda average, weights, t: [a.lerp_(w, 1 - decays[int(t) - 1]) for a, w in zip(average, weights)]
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay) if power is None else warm)
    average.update_parameters(model)
    initial = model.p.tolist()
    parameters, averages = [], []
    for _ in range(STEPS):
        with torch.no_grad():
            model.p.add_(0.3 * torch.randn(N, generator=generator))
        average.update_parameters(model)
        parameters.append(model.p.tolist())
        averages.append(average.module.p.tolist())
    return {"name": name, "decay": decay, "power": power, "decays": decays, "initial": initial,
            "parameters": parameters, "averages": averages}


def rounded(value):
    """Nine digits identify a float32."""
    if isinstance(value, float):
        return float("%.9g" % value)
    if isinstance(value, list):
        return [rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: v if k in ("decay", "power", "decays") else rounded(v) for k, v in value.items()}
    return value


cases = [
    run("openpi's decay", 0.99, None, 1),
    run("fast", 0.25, None, 2),
    run("slow", 0.9999, None, 3),
    run("timm's warm-up", 0.9999, 2 / 3, 4),
    run("Diffusion Policy's warm-up, capped", 0.5, 0.75, 5),
]
path = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures/kernels/average.json"
path.write_text(json.dumps(rounded(cases)) + "\n")
