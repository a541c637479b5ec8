#!/usr/bin/env python3
"""Random and degenerate gradient-combination cases with exact references, in the layout of Tests/Fixtures/gradients.json.

    python3 scripts/reference/strategy_cases.py --out cases.json [--count 40] [--seed 1]
    scripts/check_strategies.py --cases cases.json

Quadratic programs are solved in rational arithmetic over every support, eigenvalue problems with 60 digits (mpmath): no
tolerance of a solver is in the references. Half of the cases are Gaussian, rows of very different lengths, everything times
1e-12 to 1e12; the other half have small integers times powers of two, so that zero, equal, opposed and dependent rows are
exactly that in double precision. With --torchjd the references are compared with TorchJD 0.18 where that is exact.
"""

import argparse
import itertools
import json
import random
from fractions import Fraction

import mpmath

mpmath.mp.dps = 60


def products(rows):
    return [[sum(a * b for a, b in zip(x, y)) for y in rows] for x in rows]


def solve(matrix, right):
    """Gaussian elimination in rationals; None when singular."""
    n = len(right)
    a = [list(row) + [value] for row, value in zip(matrix, right)]
    for column in range(n):
        pivot = next((r for r in range(column, n) if a[r][column] != 0), None)
        if pivot is None:
            return None
        a[column], a[pivot] = a[pivot], a[column]
        for r in range(n):
            if r != column and a[r][column] != 0:
                factor = a[r][column] / a[column][column]
                a[r] = [x - factor * y for x, y in zip(a[r], a[column])]
    return [a[i][n] / a[i][i] for i in range(n)]


def supports(n):
    return itertools.chain.from_iterable(itertools.combinations(range(n), k) for k in range(n + 1))


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector)) for row in matrix]


def dual_cone(gram, target):
    """argmin v'Gv subject to v >= target."""
    n = len(target)
    product = times(gram, target)
    for support in supports(n):
        raised = solve([[gram[i][j] for j in support] for i in support], [-product[i] for i in support])
        if raised is None:
            continue
        v = list(target)
        for i, y in zip(support, raised):
            v[i] += y
        if all(y >= 0 for y in raised) and all(x >= 0 for x in times(gram, v)):
            return v
    raise ArithmeticError("no support solves the program")


def hull(gram):
    """Weights of the shortest vector in the convex hull."""
    n = len(gram)
    for support in supports(n):
        if not support:
            continue
        size = len(support)
        system = [[gram[i][j] for j in support] + [Fraction(-1)] for i in support]
        system.append([Fraction(1)] * size + [Fraction(0)])
        found = solve(system, [Fraction(0)] * size + [Fraction(1)])
        if found is None:
            continue
        w = [Fraction(0)] * n
        for i, value in zip(support, found):
            w[i] = value
        product = times(gram, w)
        if min(w) >= 0 and all(p >= found[size] for p in product):
            return w
    raise ArithmeticError("no support solves the program")


def project(rows, order):
    """PCGrad's row order[0], projected off the others in turn, as weights."""
    gram = products(rows)
    row, others = order[0], order[1:]
    w = [Fraction(int(i == row)) for i in range(len(rows))]
    for other in others:
        product = times(gram, w)[other]
        if product < 0 and gram[other][other] > 0:
            w[other] -= product / gram[other][other]
    return w


def real(value):
    return mpmath.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else mpmath.mpf(value)


def eigen(gram):
    """Eigenvalues that are not zero, and their vectors."""
    values, vectors = mpmath.eigsy(mpmath.matrix([[real(x) for x in row] for row in gram]))
    largest = max([abs(v) for v in values] + [mpmath.mpf(0)])
    return [(values[i], vectors[:, i]) for i in range(len(gram)) if values[i] > largest * mpmath.mpf(10) ** -40]


def spectral(gram, function):
    n = len(gram)
    total = mpmath.zeros(n, n)
    for value, vector in eigen(gram):
        total += function(value) * vector * vector.T
    return total


def methods(rows):
    """Exact combined gradients by method; rows are rationals."""
    m = len(rows)
    gram = products(rows)
    live = [i for i in range(m) if gram[i][i] > 0]
    small = [[gram[i][j] for j in live] for i in live]

    def spread(values, rest):
        full = [rest] * m
        for i, value in zip(live, values):
            full[i] = value
        return full

    found = {}
    mean = [Fraction(1, m)] * m
    found["Sum"] = [Fraction(1)] * m
    found["Mean"] = mean
    if live:
        cone = [dual_cone(small, [Fraction(int(i == j)) for j in range(len(live))]) for i in range(len(live))]
        found["UPGrad_exact"] = spread([sum(column) / m for column in zip(*cone)], Fraction(0))
        found["DualProj_exact"] = spread(dual_cone(small, [Fraction(1, m)] * len(live)), Fraction(0))
    else:
        found["UPGrad_exact"] = found["DualProj_exact"] = mean
    # A gradient of zero is itself the shortest vector of the hull.
    found["MGDA_tight"] = hull(gram)
    if m == 2:
        weight = -gram[0][1] / gram[1][1] if gram[0][1] < 0 else Fraction(0)
        found["AGEM_task0_ref1"] = [Fraction(1), weight]
        found["AsymPCGrad_project0"] = [Fraction(1), 1 + weight]
    pairs = eigen(gram)
    if len(pairs) == m:
        least = min(value for value, _ in pairs)
        found["AlignedMTL_min"] = list(
            spectral(gram, lambda value: mpmath.sqrt(least / value)) * mpmath.matrix([mpmath.mpf(1) / m] * m))
        v = list(spectral(gram, lambda value: 1 / value) * mpmath.matrix([mpmath.sqrt(real(gram[i][i])) for i in range(m)]))
        if abs(sum(v)) > max(abs(x) for x in v) * mpmath.mpf(10) ** -3:
            found["IMTLG"] = [x / sum(v) for x in v]
    if live:
        # Pseudo-inverse of the unit rows: U^+ 1 = U' (U U')^+ 1.
        lengths = [mpmath.sqrt(real(gram[i][i])) for i in live]
        cosines = [[real(gram[i][j]) / a / b for j, b in zip(live, lengths)] for i, a in zip(live, lengths)]
        u = list(spectral(cosines, lambda value: 1 / value) * mpmath.matrix([1] * len(live)))
        size = mpmath.sqrt(sum(a * b * c for (a, row) in zip(u, cosines) for b, c in zip(u, row)))
        if size > mpmath.mpf(10) ** -20:
            direction = [x / size for x in u]
            along = [sum(a * b for a, b in zip(row, direction)) for row in cosines]
            total = sum(a * b for a, b in zip(along, lengths))
            found["ConFIG"] = spread([total * x / a for x, a in zip(direction, lengths)], mpmath.mpf(0))
    return found


def combine(weights, rows):
    return [float(sum(real(w) * real(row[c]) for w, row in zip(weights, rows))) for c in range(len(rows[0]))]


def orders(rows):
    m = len(rows)
    by_row = {}
    for row in range(m):
        others = [i for i in range(m) if i != row]
        by_row[str(row)] = {
            ",".join(map(str, order)): [float(x) for x in project(rows, [row, *order])]
            for order in itertools.permutations(others)
        }
    ascending = [by_row[str(r)][",".join(str(i) for i in range(m) if i != r)] for r in range(m)]
    average = [[sum(c) / len(v) for c in zip(*v.values())] for v in by_row.values()]
    total = lambda lists: [sum(column) for column in zip(*lists)]
    return {"row_weights_by_order": by_row, "weights_ascending_order": total(ascending),
            "weights_expected_over_orders": total(average)}


def draw(generator, index):
    m = 2 + index % 4
    if index % 2 == 0:
        n = generator.randint(m + 2, 20)
        scale = 10.0 ** generator.uniform(-12, 12)
        return "gauss", [
            [generator.gauss(0, 1) * length * scale for _ in range(n)]
            for length in [10.0 ** generator.uniform(-3, 3) for _ in range(m)]
        ]
    n = generator.randint(1, 5)
    scale = 2.0 ** generator.randint(-40, 40)
    rows = [[generator.randint(-3, 3) for _ in range(n)] for _ in range(m)]
    kind = generator.choice(["plain", "zero", "equal", "opposed", "dependent", "all zero"])
    if kind == "zero":
        rows[generator.randrange(m)] = [0] * n
    if kind == "equal":
        rows[1] = list(rows[0])
    if kind == "opposed":
        rows[1] = [-2 * x for x in rows[0]]
    if kind == "dependent":
        rows[-1] = [a - b for a, b in zip(rows[0], rows[1])]
    if kind == "all zero":
        rows = [[0] * n for _ in range(m)]
    return kind, [[x * scale * 2.0 ** generator.randint(-10, 10) for x in row] for row in rows] if kind == "plain" else [
        [x * scale for x in row] for row in rows]


def case(generator, index):
    kind, rows = draw(generator, index)
    exact = [[Fraction(x) for x in row] for row in rows]
    gram = [[float(x) for x in row] for row in products(exact)]
    rank = len(eigen(products(exact)))
    entries = {name: {"ref_gradient": combine(weights, exact)} for name, weights in methods(exact).items()}
    if len(rows) <= 4:
        entries["PCGrad"] = orders(exact)
    return {"id": f"x{index:03d} {kind}", "m": len(rows), "n": len(rows[0]), "rank": rank, "J": rows, "gram": gram,
            "methods": entries}


def compare_with_torchjd(cases):
    import torch
    from torchjd.aggregation import AlignedMTL, ConFIG, IMTLG, PCGrad

    worst = {}
    for item in cases:
        matrix = torch.tensor(item["J"], dtype=torch.float64)
        scale = float(matrix.norm(dim=1).max())
        pairs = {"AlignedMTL_min": AlignedMTL(), "ConFIG": ConFIG(), "IMTLG": IMTLG()}
        for name, aggregator in pairs.items():
            if name not in item["methods"] or item["rank"] < item["m"] or scale == 0:
                continue
            error = float((aggregator(matrix) - torch.tensor(item["methods"][name]["ref_gradient"])).norm()) / scale
            worst[name] = max(worst.get(name, 0.0), error)
        if item["m"] == 2 and scale > 0 and "PCGrad" in item["methods"]:
            weights = torch.tensor(item["methods"]["PCGrad"]["weights_ascending_order"], dtype=torch.float64)
            error = float((PCGrad()(matrix) - weights @ matrix).norm()) / scale
            worst["PCGrad"] = max(worst.get("PCGrad", 0.0), error)
    for name, error in worst.items():
        print(f"{name}: TorchJD is within {error:.1e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--torchjd", action="store_true", help="compare the references with TorchJD's results")
    arguments = parser.parse_args()
    generator = random.Random(arguments.seed)
    cases = [case(generator, index) for index in range(arguments.count)]
    with open(arguments.out, "w") as file:
        json.dump({"meta": {"seed": arguments.seed}, "cases": cases}, file)
    if arguments.torchjd:
        compare_with_torchjd(cases)


if __name__ == "__main__":
    main()
