#!/usr/bin/env python3
"""Writes Tests/Fixtures/methods.json: what PyTorch gives for AEGIS's distance and for MoDo and SDMGrad, in float64.

    python scripts/reference/method_cases.py [FILE]

AEGIS: the Wasserstein-2 distance between Gaussians, with variances alone and with full covariances, differentiated by autograd;
the anchor's moments are those of all calibration batches together. MoDo: the update of LibMTL (weighting/MoDo.py) on two halves of
a step; SDMGrad: its objective minimised with SGD as in its published code, the derivative by autograd. Needs torch.
"""

import json
import pathlib
import sys

import torch

torch.set_default_dtype(torch.float64)
FILE = pathlib.Path(__file__).resolve().parent.parent.parent / "Tests/Fixtures/methods.json"


def root(matrix):
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


def moments(points):
    mean = points.mean(0)
    return mean, (points - mean).T @ (points - mean) / len(points)


def wasserstein(points, anchor, full):
    """Squared distance, its part of means first."""
    (mean, covariance), (anchor_mean, anchor_covariance) = moments(points), moments(anchor)
    shift = (mean - anchor_mean).square().sum()
    if not full:
        return shift, (covariance.diagonal().sqrt() - anchor_covariance.diagonal().sqrt()).square().sum()
    # tr (A^1/2 S A^1/2)^1/2 is the sum of the singular values of A^1/2 (x - mu)' / sqrt N.
    values = torch.linalg.svdvals(root(anchor_covariance) @ (points - mean).T / len(points) ** 0.5)
    return shift, covariance.trace() + anchor_covariance.trace() - 2 * values.sum()


def aegis(generator, full, batch, layers, tokens, width):
    def draw(scale):
        shape = (batch, layers, tokens, width)
        values = torch.randn(shape, generator=generator) * scale + torch.arange(layers)[:, None, None] * 0.5
        return values.float().double()

    mask = (torch.rand(batch, layers, tokens, generator=generator) < 0.8).double()
    mask[:, :, 0] = 1
    calibration = [draw(1), draw(1.5)]
    features = draw(2).requires_grad_()
    loss, shift = torch.zeros(()), torch.zeros(())
    for layer in range(layers):
        kept = mask[:, layer] > 0
        anchor = torch.cat([points[:, layer][kept] for points in calibration])
        parts = wasserstein(features[:, layer][kept], anchor, full)
        loss, shift = loss + sum(parts) / (width * layers), shift + parts[0] / (width * layers)
    loss.backward()

    def flat(values):
        return values.detach().flatten().tolist()

    return {
        "full": full, "shape": [batch, layers * tokens, width], "layers": layers, "mask": flat(mask),
        "calibration": [flat(points) for points in calibration], "features": flat(features), "loss": loss.item(),
        "mean_part": shift.item(), "cotangent": flat(features.grad),
    }


def project(y):
    """To the simplex, by bisection on the shift: not the plugin's way."""
    low, high = y.min() - 1, y.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (y - middle).clamp(min=0).sum() > 1 else (low, middle)
    return (y - high).clamp(min=0)


def double_sampling(generator, m, gamma=0.001, rho=0.1, strength=None, steps=5):
    w, cases = torch.ones(m) / m, []
    for _ in range(steps):
        first, second = torch.randn(2, m, 7, generator=generator)
        incoming = torch.rand(m, generator=generator) + 0.1
        u = incoming / incoming.sum()
        if strength is None:
            w = weights = project(w - gamma * (first @ (second.T @ w) + rho * w))
        else:
            # The mean length from both halves, as far as they agree that there is one.
            length = (first * second).sum(1).clamp(min=0).sqrt().mean()
            w.requires_grad_()
            optimizer = torch.optim.SGD([w], lr=10, momentum=0.5)
            for _ in range(20 if length > 0 else 0):
                optimizer.zero_grad()
                # |J w + strength g0|^2 / 2, the derivative's two factors from a half each.
                inner = (second.T @ (w + strength * u)).detach() / length
                (first.T @ w / length @ inner).backward()
                optimizer.step()
                with torch.no_grad():
                    w.copy_(project(w))
            w = w.detach()
            weights = (w + strength * u) / (1 + strength)
        cases.append({
            "cross": (first @ second.T).flatten().tolist(), "incoming": incoming.tolist(), "weights": weights.tolist(),
        })
    return cases


def main():
    generator = torch.Generator().manual_seed(11)
    # Fewer points than columns too: a covariance without full rank.
    cases = [
        aegis(generator, full, *shape) for full in (False, True) for shape in [(2, 3, 5, 4), (3, 1, 4, 6), (2, 2, 3, 9)]
    ]
    sampled = [
        {"plugin": plugin, "steps": double_sampling(generator, m, **settings)}
        for m in (1, 2, 3, 5)
        for plugin, settings in [
            ("MoDo", {}), ("MoDo:gamma=0.2:rho=0.5", {"gamma": 0.2, "rho": 0.5}),
            ("MoDo:rule=sdmgrad", {"strength": 0.3}), ("MoDo:rule=sdmgrad:strength=2", {"strength": 2}),
        ]
    ]
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    path.write_text(json.dumps({"aegis": cases, "double_sampling": sampled}, separators=(",", ":")) + "\n")
    print(f"{len(cases)} and {len(sampled)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
