"""Minimax polynomials of Sources/Kernels/vector.h, and the accuracy they reach in float32.

Needs numpy. Prints the coefficients, lowest degree first, and checks the errors that the header states.
"""

import math

import numpy as np


def minimax(basis, target, weight, iterations=80):
    """Coefficients c that nearly minimise max |weight * (basis @ c - target)| (Lawson's reweighted least squares)."""
    lawson = np.ones(len(target))
    best = math.inf, None
    for _ in range(iterations):
        scale = np.sqrt(lawson) * weight
        c = np.linalg.lstsq(basis * scale[:, None], target * scale, rcond=None)[0]
        error = np.abs((basis @ c - target) * weight)
        if error.max() < best[0]:
            best = error.max(), c
        lawson *= error / error.max() + 1e-3
        lawson /= lawson.sum()
    return best


def powers(x, count):
    return np.stack([x**k for k in range(count)], axis=1)


def horner(c, x):
    """Float32 with fused multiply-adds, as the kernels run where the CPU has them."""
    y = np.full_like(x, np.float32(c[-1]))
    for k in range(len(c) - 2, -1, -1):
        y = (y.astype(np.float64) * x + np.float64(np.float32(c[k]))).astype(np.float32)
    return y


def show(name, c):
    print(name + ":", ", ".join("%.9g" % np.float32(v) for v in c))


def chebyshev(low, high, count=4000):
    return (low + high) / 2 + (high - low) / 2 * np.cos(np.linspace(0, math.pi, count))


def exponential():
    """P in e^r = 1 + r + r^2 P(r), |r| <= ln(2) / 2, least relative error of e^r."""
    half = math.log(2) / 2 * 1.0005
    r = chebyshev(-half, half)
    r = r[np.abs(r) > 1e-4]
    error, c = minimax(powers(r, 5), (np.expm1(r) - r) / r**2, r**2 / np.exp(r))
    show("exp", c)
    r32 = r.astype(np.float32)
    e = horner(c, r32).astype(np.float64) * (r32 * r32) + r32
    e = (e.astype(np.float32) + np.float32(1)).astype(np.float64)
    print(f"  polynomial {error:.1e}, float32 relative error {np.abs(e / np.exp(r32.astype(np.float64)) - 1).max():.1e}")


def gaussian_tail():
    """T in Phi(-x) = exp(-x^2/2) (1/2 - w T(w)), w = p x / (1 + p x), 0 <= x <= 12, least absolute error of Phi."""
    p = 0.3
    u = chebyshev(1 / (1 + p * 12), 1)
    u = u[u < 1 - 1e-9]
    w, x = 1 - u, (1 / u - 1) / p
    ratio = np.array([0.5 * math.erfc(v / math.sqrt(2)) * math.exp(v * v / 2) for v in x])
    # The small second term keeps the far tail within 3e-5 of itself, where absolute error alone would not.
    error, c = minimax(powers(w, 8), (0.5 - ratio) / w, w * np.exp(-x * x / 2) + 1e-3 * w)
    show("gaussian tail", c)
    x = np.linspace(0, 12, 200001).astype(np.float32)
    px = np.float32(p) * x
    w = px / (1 + px)
    density = np.exp(-x.astype(np.float64) ** 2 / 2)
    phi = density * (0.5 - horner(c, w).astype(np.float64) * w).astype(np.float32)
    exact = np.array([0.5 * math.erfc(v / math.sqrt(2)) for v in x.astype(np.float64)])
    print(f"  polynomial {error:.1e}, float32 absolute error of erf {2 * np.abs(phi - exact).max():.1e}")


exponential()
gaussian_tail()
