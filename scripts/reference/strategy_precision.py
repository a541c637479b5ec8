#!/usr/bin/env python3
"""Writes Tests/Fixtures/strategy-precision.json: what the strategies on Gram matrices give to 50 digits.

    python scripts/reference/strategy_precision.py [FILE]

The Gram matrices are the numbers in the file, taken as exact. Every solution is checked against the conditions that make it
one, to 1e-35, whatever way it was found. Needs mpmath.
"""

import itertools
import json
import pathlib
import random
import sys

import mpmath as mp

mp.mp.dps = 60
CHECK = mp.mpf(10) ** -35
FILE = pathlib.Path(__file__).resolve().parent.parent.parent / "Tests/Fixtures/strategy-precision.json"
ALPHAS = [0.1, 0.5, 0.99, 1.01, 2, 10, 100]
RADII = [0.5, 2]


def dot(x, y):
    return mp.fsum(a * b for a, b in zip(x, y))


def times(matrix, x):
    return [dot(row, x) for row in matrix]


def solve(matrix, right):
    """None for a singular matrix."""
    n = len(right)
    a = [list(row) + [b] for row, b in zip(matrix, right)]
    scale = max(abs(x) for row in matrix for x in row) if n else 1
    for c in range(n):
        p = max(range(c, n), key=lambda r: abs(a[r][c]))
        if abs(a[p][c]) <= scale * mp.mpf(10) ** -45:
            return None
        a[c], a[p] = a[p], a[c]
        for r in range(c + 1, n):
            f = a[r][c] / a[c][c]
            a[r] = [x - f * y for x, y in zip(a[r], a[c])]
    x = [mp.mpf(0)] * n
    for r in reversed(range(n)):
        x[r] = (a[r][n] - mp.fsum(a[r][k] * x[k] for k in range(r + 1, n))) / a[r][r]
    return x


def nonnegative(matrix, q):
    """y >= 0, S y + q >= 0, y'(S y + q) = 0."""
    n = len(q)

    def attempt(support):
        y = [mp.mpf(0)] * n
        inner = solve([[matrix[i][j] for j in support] for i in support], [-q[i] for i in support])
        if inner is None:
            return None
        for i, value in zip(support, inner):
            y[i] = value
        slack = [a + b for a, b in zip(times(matrix, y), q)]
        return y, slack

    def is_solution(y, slack):
        size = max([1] + [abs(v) for v in y])
        return all(v >= -CHECK * size for v in y + slack) and abs(dot(y, slack)) <= CHECK * size * size

    support, fewest, patience = set(), n + 1, 3
    for _ in range(200):
        found = attempt(sorted(support))
        if found is None:
            break
        y, slack = found
        wrong = {i for i in range(n) if (y[i] < 0 if i in support else slack[i] < -CHECK)}
        if not wrong:
            assert is_solution(y, slack)
            return y
        if len(wrong) < fewest:
            fewest, patience = len(wrong), 3
        elif patience > 0:
            patience -= 1
        else:
            wrong = {max(wrong)}
        support ^= wrong
    for size in range(n + 1):
        for support in itertools.combinations(range(n), size):
            found = attempt(support)
            if found and is_solution(*found):
                return found[0]
    return None


def projected(gram, target):
    norms = [mp.sqrt(gram[i][i]) for i in range(len(gram))]
    cosines = [[gram[i][j] / norms[i] / norms[j] for j in range(len(gram))] for i in range(len(gram))]
    raised = nonnegative(cosines, times(cosines, [t * n for t, n in zip(target, norms)]))
    return [t + y / n for t, y, n in zip(target, raised, norms)]


def upgrad(gram):
    m = len(gram)
    rows = [projected(gram, [mp.mpf(int(i == j)) for j in range(m)]) for i in range(m)]
    return [mp.fsum(column) / m for column in zip(*rows)]


def mgda(gram):
    m = len(gram)
    shortest = min(gram[i][i] for i in range(m))
    y = nonnegative([[g / shortest for g in row] for row in gram], [mp.mpf(-1)] * m)
    if y is not None:
        return [v / mp.fsum(y) for v in y]
    for size in range(1, m + 1):
        for support in itertools.combinations(range(m), size):
            system = [[gram[i][j] for j in support] + [mp.mpf(-1)] for i in support] + [[mp.mpf(1)] * size + [mp.mpf(0)]]
            found = solve(system, [mp.mpf(0)] * size + [mp.mpf(1)])
            if found is None:
                continue
            a = [mp.mpf(0)] * m
            for i, value in zip(support, found):
                a[i] = value
            if all(v >= -CHECK for v in a) and all(p - found[-1] >= -CHECK * gram[0][0] for p in times(gram, a)):
                return a
    raise AssertionError("MGDA")


def cagrad(gram, c):
    m = len(gram)
    units = [mp.sqrt(gram[i][i]) for i in range(m)]
    cosines = [[gram[i][j] / units[i] / units[j] for j in range(m)] for i in range(m)]
    center = [u / m for u in units]
    length = mp.sqrt(dot(center, times(cosines, center)))
    center = [x / length for x in center]
    products = times(cosines, center)
    inverse = [min(units) / u for u in units]
    # The distance grows with the level: from 0 to more than c.
    low, high = min(p / i for p, i in zip(products, inverse)), 1 + mp.mpf(c)
    level, previous = high, None
    for _ in range(400):
        z = nonnegative(cosines, [p - level * i for p, i in zip(products, inverse)])
        support = [i for i in range(m) if z[i] > 0]
        if support == previous and abs(dot(z, times(cosines, z)) - mp.mpf(c) ** 2) < CHECK:
            break
        previous = support
        if dot(z, times(cosines, z)) > mp.mpf(c) ** 2:
            high = level
        else:
            low = level
        if not support:
            level = (low + high) / 2
            continue
        inner = [[cosines[i][j] for j in support] for i in support]
        a = solve(inner, [inverse[i] for i in support])
        b = solve(inner, [products[i] for i in support])
        aa = dot(a, [inverse[i] for i in support])
        ab = dot(a, [products[i] for i in support])
        bb = dot(b, [products[i] for i in support])
        level = (ab + mp.sqrt(max(aa * mp.mpf(c) ** 2 - aa * bb + ab * ab, 0))) / aa
        if not low < level < high:
            level = (low + high) / 2
    assert abs(mp.sqrt(dot(z, times(cosines, z))) - c) < CHECK
    return [mp.mpf(1) / m + x * length / u for x, u in zip(z, units)]


def alpha_fair(gram, alpha):
    """(G w)_i = w_i^(-1/alpha)."""
    # The products can be 1e-100 of their terms.
    with mp.workdps(300):
        return alpha_fair_path(gram, alpha)


def alpha_fair_path(gram, alpha):
    """Newton's method, p halved or doubled from 1 on."""
    m, target = len(gram), 1 / mp.mpf(alpha)
    units = [mp.sqrt(gram[i][i]) for i in range(m)]
    s = [[gram[i][j] / units[i] / units[j] for j in range(m)] for i in range(m)]
    b = [mp.mpf(1)] * m

    def newton(right, extra):
        h = [[b[i] * b[j] * s[i][j] + (extra[i] if i == j else 0) for j in range(m)] for i in range(m)]
        root = [mp.sqrt(h[i][i]) for i in range(m)]
        x = solve([[h[i][j] / root[i] / root[j] for j in range(m)] for i in range(m)], [r / t for r, t in zip(right, root)])
        return [v / t for v, t in zip(x, root)]

    for _ in range(500):
        right = [1 - x * y for x, y in zip(b, times(s, b))]
        dx = newton(right, [mp.mpf(1)] * m)
        decrement = dot(dx, right)
        step = 1 / (1 + mp.sqrt(decrement)) if decrement > 0.01 else 1
        b = [x * (1 + step * d) for x, d in zip(b, dx)]
        if decrement < 1e-4:
            break
    r = [1 / x for x in b]
    p = mp.mpf(1)
    while True:
        k = [(p - 1) * mp.log(u / max(units)) for u in units]
        for _ in range(300):
            e = [v - p * mp.log(x) - mp.log(y) for v, x, y in zip(k, b, r)]
            right = [x * (y - z + y * f) for x, y, z, f in zip(b, r, times(s, b), e)]
            dx = newton(right, [p * x * y for x, y in zip(b, r)])
            dr = [f - p * d for f, d in zip(e, dx)]
            large = max([d for d in dx] + [abs(d) for d in dr])
            t = min(1, 4 / large) if large > 0 else 1
            b = [x * mp.exp(t * d) for x, d in zip(b, dx)]
            r = [y * mp.exp(t * d) for y, d in zip(r, dr)]
            size = max(abs(d) for d in dx + dr)
            if size < (mp.mpf(10) ** -50 if p == target else 0.1):
                break
        if p == target:
            break
        p = max(target, p / 2) if target < p else min(target, p * 2)
    w = [x * max(units) ** ((p - 1) / (1 + p)) / u for x, u in zip(b, units)]
    for product, weight in zip(times(gram, w), w):
        assert abs(product * weight ** p - 1) < mp.mpf(10) ** -18, (alpha, product * weight ** p)
    return w


def spectrum(gram, rank):
    values, vectors = mp.eigsy(mp.matrix(gram))
    m = len(gram)
    order = sorted(range(m), key=lambda k: -values[k])[:rank]
    return [values[k] for k in order], [[vectors[i, k] for i in range(m)] for k in order]


def mapped(gram, rank, x, f):
    values, vectors = spectrum(gram, rank)
    factors = f(values)
    result = [mp.mpf(0)] * len(gram)
    for factor, vector in zip(factors, vectors):
        share = factor * dot(vector, x)
        result = [r + share * v for r, v in zip(result, vector)]
    return result


def imtlg(gram, rank):
    v = mapped(gram, rank, [mp.sqrt(gram[i][i]) for i in range(len(gram))], lambda l: [1 / x for x in l])
    return [x / mp.fsum(v) for x in v]


def config(gram, rank):
    m = len(gram)
    norms = [mp.sqrt(gram[i][i]) for i in range(m)]
    cosines = [[gram[i][j] / norms[i] / norms[j] for j in range(m)] for i in range(m)]
    c = mapped(cosines, rank, [mp.mpf(1)] * m, lambda l: [1 / x for x in l])
    products = times(cosines, c)
    total = dot(norms, products) / dot(c, products)
    return [x * total / n for x, n in zip(c, norms)]


def aligned(gram, rank):
    m = len(gram)
    return mapped(gram, rank, [mp.mpf(1) / m] * m, lambda l: [mp.sqrt(l[-1] / x) for x in l])


def gradients():
    """Name, rows, rank."""
    draw = random.Random(20240607)

    def normal(m, n):
        return [[draw.gauss(0, 1) for _ in range(n)] for _ in range(m)]

    def center(rows, share):
        mean = [sum(column) / len(rows) for column in zip(*rows)]
        return [[x - share * y for x, y in zip(row, mean)] for row in rows]

    for m in range(1, 9):
        yield f"random {m}", normal(m, m + 3), m
        yield f"conflicting {m}", center(normal(m, m + 3), 0.9), m
        rows = center(normal(m, m + 3), 0.9)
        yield f"unequal {m}", [[x * 10.0 ** draw.uniform(-6, 6) for x in row] for row in rows], m
        scales = [10.0 ** draw.uniform(-6, 6) for _ in range(m)]
        yield f"scales {m}", [[x * s for x in row] for row, s in zip(center(normal(m, m + 3), 0.9), scales)], m
    for m in (2, 3, 5, 8):
        for distance in (1e-2, 1e-4, 1e-6):
            rows = normal(m, m + 3)
            rows[1] = [-3 * x + distance * y for x, y in zip(rows[0], rows[1])]
            yield f"opposed but for {distance} {m}", rows, m
            rows = normal(m, m + 3)
            rows[1] = [2 * x + distance * y for x, y in zip(rows[0], rows[1])]
            yield f"equal but for {distance} {m}", rows, m
    # Whole numbers: their inner products are exact, so that the dependence is too.
    a, b, c = [4, 8, -4, 1], [-8, 2, 4, 3], [1, -3, 2, 7]
    yield "twice the same", [a, a], 1
    yield "twice the same and a conflict", [a, a, b], 2
    yield "multiples and two others", [a, [3 * x for x in a], b, c], 3
    yield "rank two of three", [a, b, [2 * x + y for x, y in zip(a, b)]], 2
    yield "rank two of four", [a, b, [x + y for x, y in zip(a, b)], [x + 2 * y for x, y in zip(a, b)]], 2


def main():
    cases = []
    pinned = [[1.07e-2, -0.017, 0.0976, -0.0604, 1.6893], [0, 0.1032, -0.1848, 0.4332, -5.8217],
              [0, 0, 1.5299, 2.0913, 25.2546], [0, 0, 0, 33.7505, 2.0682], [0, 0, 0, 0, 596.1673]]
    items = [("cancelling products", [[pinned[min(i, j)][max(i, j)] for j in range(5)] for i in range(5)], 5)]
    for name, rows, rank in gradients():
        items.append((name, [[float(sum(x * y for x, y in zip(p, q))) for q in rows] for p in rows], rank))
    for name, gram, rank in items:
        exact = [[mp.mpf(x) for x in row] for row in gram]
        m = len(gram)
        full = rank == m
        methods = {"UPGrad": upgrad(exact), "DualProj": projected(exact, [mp.mpf(1) / m] * m), "MGDA": mgda(exact),
                   "IMTLG": imtlg(exact, rank), "ConFIG": config(exact, rank), "AlignedMTL": aligned(exact, rank)}
        if full:
            for c in RADII:
                methods[f"CAGrad:c={c}"] = cagrad(exact, c)
        for alpha in ALPHAS:
            methods[f"FairGrad:alpha={alpha}"] = alpha_fair(exact, alpha)
        methods["NashMTL:max_norm=0"] = alpha_fair(exact, 1)
        print(name, flush=True)
        cases.append({"name": name, "rank": rank, "gram": [x for row in gram for x in row],
                      "weights": {key: [float(x) for x in value] for key, value in methods.items()}})
    path = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    path.write_text(json.dumps({"about": __doc__.split("\n")[0], "cases": cases}, separators=(",", ":")) + "\n")
    print(f"{len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
