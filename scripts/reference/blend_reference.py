"""Writes Tests/Fixtures/blend.safetensors: blends of a few tensors of three tuned models, in numpy.

    python scripts/reference/blend_reference.py      (needs numpy and safetensors)

The arithmetic is mergekit's (task_arithmetic; ties with sparsify by magnitude, consensus by sum, normalize), written out
here, with two differences: sums are in float64, and the number of elements that TIES keeps is rounded up, so that a tensor
of one value is not emptied. Of equal magnitudes at the border the first stay.

Tensors of the file: `base.NAME`, `tuned{1,2,3}.NAME` and, by case, `CASE.NAME`.
"""

import math
import pathlib

import numpy as np
from safetensors.numpy import load_file, save_file

fixtures = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures"
folder = fixtures / "vla/one-tower-qwen2-base"
NAMES = ["projector.fc1.weight", "language_model.model.norm.weight", "action_queries.weight", "action_head.model.fc2.weight",
         "action_head.model.mlp_resnet_blocks.0.gating_factor"]


def trimmed(task, density):
    flat = task.ravel()
    kept = max(1, math.ceil(density * flat.size - 1e-9))
    order = np.argsort(-np.abs(flat), kind="stable")[:kept]
    result = np.zeros_like(flat)
    result[order] = flat[order]
    return result.reshape(task.shape)


def task_vectors(base, tuned):
    return [t - base for t in tuned]  # float32


def mean(models, weights):
    weights = np.array(weights, np.float64) / np.sum(weights)
    return sum(w * m.astype(np.float64) for w, m in zip(weights, models)).astype(np.float32)


def task_arithmetic(base, tuned, scales):
    tasks = task_vectors(base, tuned)
    return (base.astype(np.float64) + sum(s * t.astype(np.float64) for s, t in zip(scales, tasks))).astype(np.float32)


def ties(base, tuned, weights, alpha, density):
    tasks = np.stack([trimmed(t, density) for t in task_vectors(base, tuned)]).astype(np.float64)
    weights = np.array(weights, np.float64).reshape(-1, *[1] * base.ndim)
    weighted = weights * tasks
    majority = np.where(weighted.sum(axis=0) >= 0, 1, -1)
    agrees = np.sign(weighted) == majority
    divisor = (weights * agrees).sum(axis=0)
    mixed = (weighted * agrees).sum(axis=0) / np.where(divisor == 0, 1, divisor)
    return (base.astype(np.float64) + alpha * mixed).astype(np.float32)


random = np.random.default_rng(7)
shapes = {name: tensor.shape for name, tensor in load_file(folder / "model.safetensors").items()}
for part in ("action_head", "proprio_projector"):
    for name, tensor in load_file(folder / f"{part}--checkpoint.safetensors").items():
        shapes[f"{part}.{name.removeprefix('module.')}"] = tensor.shape
out = {}
for name in NAMES:
    shape = shapes[name]
    base = random.standard_normal(shape).astype(np.float32)
    # Quarters make equal magnitudes, which a border may run through, and tasks that cancel.
    steps = [np.round(random.standard_normal(shape) * 4) / 4, random.standard_normal(shape), random.standard_normal(shape)]
    steps[2] = np.where(random.random(shape) < 0.2, -steps[0], steps[2])
    if "norm" in name:
        base = (np.round(base * 4) / 4).astype(np.float32)  # exact differences, so that they do cancel
    tuned = [(base + 0.125 * s).astype(np.float32) for s in steps]
    out[f"base.{name}"] = base
    for i, t in enumerate(tuned):
        out[f"tuned{i + 1}.{name}"] = t
    policy = name.startswith("action_head")
    out[f"wise.{name}"] = mean([base, tuned[0]], [0.7, 0.3])
    out[f"wise-groups.{name}"] = (tuned[0] if policy else base if name.startswith("language_model")
                                  else mean([base, tuned[0]], [0.75, 0.25]))
    out[f"soup.{name}"] = mean([base, *tuned], [1, 1, 1, 1])
    out[f"soup-weights.{name}"] = mean([base, *tuned], [1, 2, 0, 1])
    out[f"task-arithmetic.{name}"] = task_arithmetic(base, tuned, [0.4 * w for w in (1, 1, -0.5)])
    out[f"ties.{name}"] = ties(base, tuned, [1, 1, 1], 1, 0.2)
    out[f"ties-weights.{name}"] = ties(base, tuned, [1, 0.5, 2], 0.5 if policy else 0.8, 0.55)
    out[f"ties-all.{name}"] = ties(base, tuned, [1, 1, 1], 1, 1)
save_file(out, fixtures / "blend.safetensors")
