#!/usr/bin/env python3
"""Runs every strategy and multiplier rule on pinned cases through `craft plugins call` and prints its worst error.

    scripts/check_strategies.py [--craft .build/release/craft] [--cases FILE ...] [--json FILE]

Files: by default Tests/Fixtures/gradients.json and dual.json; others of the same layout work too. An error is the distance
between the combined gradient and the reference, over the length of the longest gradient (or of the reference, if that is
longer); for multipliers, the largest difference. Needs Python only. Exit code 1 when a strategy is beyond its tolerance.
"""

import argparse
import itertools
import json
import math
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Method of the file, plugin, incoming weights ("ones" or "mean"), tolerance. Exact references are met to 1e-9; TorchJD's
# own iterative solvers (CAGrad, NashMTL) are compared with loosely.
COMBINERS = [
    ("Sum", "Sum", "ones", 1e-9),
    ("Sum", "Constant", "ones", 1e-9),
    ("Mean", "Mean", "ones", 1e-9),
    ("MGDA_tight", "MGDA", "ones", 1e-9),
    ("UPGrad_exact", "UPGrad:preference=weights", "mean", 1e-9),
    ("UPGrad_exact", "UPGrad", "ones", 1e-9),
    ("DualProj_exact", "DualProj:preference=weights", "mean", 1e-9),
    ("DualProj_exact", "DualProj", "ones", 1e-9),
    ("AlignedMTL_min", "AlignedMTL", "ones", 1e-9),
    ("IMTLG", "IMTLG", "ones", 1e-9),
    ("ConFIG", "ConFIG", "ones", 1e-9),
    ("AGEM_task0_ref1", "AGEM", "ones", 1e-9),
    ("AsymPCGrad_project0", "CRaFTProjection:scope=global", "ones", 1e-9),
    ("CAGrad_c0.5", "CAGrad:c=0.5", "ones", 1e-3),
    ("CAGrad_c1.0", "CAGrad:c=1", "ones", 1e-3),
    ("NashMTL_first_call", "NashMTL", "ones", 1e-3),
    ("NashMTL_unclipped_first_call", "NashMTL:max_norm=0", "ones", 1e-3),
    ("NashMTL_unclipped_first_call", "FairGrad:alpha=1", "ones", 1e-3),
]

# Cases in which TorchJD's solver failed and gave its starting point.
FAILED = {
    "CAGrad_c0.5": {"e06_second_zero"},
    "NashMTL_first_call": {"e02_hand_2d_conflict"},
    "NashMTL_unclipped_first_call": {"e02_hand_2d_conflict"},
}

# Kept for one call only: an instance each.
STATEFUL = {"NashMTL", "NashMTL:max_norm=0"}

# Entry and key of dual.json, plugin.
RULES = [
    ("projected_gradient_ascent", "eta=0.1", "CRaFTDual:lr=0.1"),
    ("projected_gradient_ascent", "eta=1.0", "CRaFTDual:lr=1"),
    ("projected_gradient_ascent", "eta=1.0", "AugmentedLagrangian:penalty=1:growth=1"),
    ("nuPI", "eta=1,Kp=0,Ki=1,nu=0 (== projected ascent)", "nuPI:lr=1:kp=0"),
    ("nuPI", "eta=1,Kp=1,Ki=1,nu=0", "nuPI:lr=1:kp=1"),
    ("nuPI", "eta=1,Kp=2,Ki=1,nu=0.5", "nuPI:lr=1:kp=2:nu=0.5"),
    ("nuPI", "eta=1,Kp=2,Ki=1,nu=0.5,ZEROS", "nuPI:lr=1:kp=2:nu=0.5:start=zeros"),
    ("nuPI_docstring_variant", "eta=1,Kp=1,Ki=1,nu=0", "nuPI:lr=1:kp=1:start=error"),
    ("nuPI_docstring_variant", "eta=1,Kp=2,Ki=1,nu=0.5", "nuPI:lr=1:kp=2:nu=0.5:start=error"),
]


class Caller:
    def __init__(self, craft):
        self.craft = craft

    def __call__(self, plugin, hook, calls):
        """Results of the calls, on one instance, in order."""
        done = subprocess.run(
            [self.craft, "plugins", "call", plugin, hook, "--json", "-"],
            input=json.dumps(calls), capture_output=True, text=True,
        )
        if done.returncode != 0:
            sys.exit(f"{plugin} {hook}: {done.stderr.strip()}")
        return json.loads(done.stdout)


def length(vector):
    return math.sqrt(math.fsum(x * x for x in vector))


def combined(weights, rows):
    return [math.fsum(w * row[c] for w, row in zip(weights, rows)) for c in range(len(rows[0]))]


def gradient_error(found, expected, rows):
    scale = max([length(row) for row in rows] + [length(expected)])
    return length([a - b for a, b in zip(found, expected)]) / scale if scale > 0 else length(found)


def relative(found, expected):
    scale = length(expected)
    return length([a - b for a, b in zip(found, expected)]) / scale if scale > 0 else length(found)


class Table:
    def __init__(self):
        self.rows = []

    def add(self, method, plugin, errors, tolerance):
        worst = max(errors) if errors else math.nan
        self.rows.append(
            {"reference": method, "plugin": plugin, "cases": len(errors), "worst": worst, "tolerance": tolerance,
             "ok": bool(errors) and worst <= tolerance}
        )

    def text(self):
        head = ["plugin", "reference", "cases", "worst error", "tolerance", ""]
        rows = [
            [r["plugin"], r["reference"], str(r["cases"]), f"{r['worst']:.1e}", f"{r['tolerance']:.0e}",
             "" if r["ok"] else "FAILED"]
            for r in self.rows
        ]
        widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in [head] + rows)


def incoming(kind, m):
    return [1 / m if kind == "mean" else 1.0] * m


def check_combiners(call, cases, table):
    for method, plugin, kind, tolerance in COMBINERS:
        used = [
            (case, case["methods"][method]) for case in cases
            if method in case["methods"] and case["id"] not in FAILED.get(method, set())
        ]
        used = [(c, e.get("ref_gradient") or e.get("gradient")) for c, e in used]
        used = [(c, expected) for c, expected in used if expected]
        if not used:
            continue
        calls = [{"gram": [case["gram"]], "weights": [incoming(kind, case["m"])]} for case, _ in used]
        if plugin in STATEFUL:
            results = [call(plugin, "gradient_combine", one) for one in calls]
        else:
            results = call(plugin, "gradient_combine", calls)
        errors = [
            # The reference itself holds cases without full rank to 1e-7 only.
            gradient_error(combined(result["weights"][0], case["J"]), expected, case["J"])
            * (0.01 if case["rank"] < case["m"] and tolerance < 1e-7 else 1)
            for (case, expected), result in zip(used, results)
        ]
        table.add(method, plugin, errors, tolerance)


def check_orders(call, cases, table):
    """PCGrad in given orders, one per row, and GradVac, whose first call is PCGrad's."""
    known = [case for case in cases if "row_weights_by_order" in case["methods"].get("PCGrad", {})]
    for key, plugin in [
        ("weights_ascending_order", "PCGrad:order=ascending"), ("weights_expected_over_orders", "PCGrad:order=average")
    ]:
        used = [case for case in known if key in case["methods"]["PCGrad"]]
        results = call(plugin, "gradient_combine", [{"gram": [case["gram"]]} for case in used])
        table.add(
            key, plugin,
            [relative(r["weights"][0], case["methods"]["PCGrad"][key]) for case, r in zip(used, results)], 1e-12)
    used, calls, expected = [], [], []
    for case in known:
        by_row = case["methods"]["PCGrad"]["row_weights_by_order"]
        for choice in itertools.product(*[by_row[str(row)].items() for row in range(case["m"])]):
            order = [[int(i) for i in text.split(",") if i != ""] + [row] for row, (text, _) in enumerate(choice)]
            used.append(case["id"])
            calls.append({"gram": [case["gram"]], "order": order})
            expected.append([math.fsum(column) for column in zip(*[weights for _, weights in choice])])
    results = call("PCGrad", "gradient_combine", calls)
    errors = [relative(r["weights"][0], e) for r, e in zip(results, expected)]
    table.add("row_weights_by_order", "PCGrad", errors, 1e-12)
    # An instance each, and the first order of every case.
    first = [used.index(name) for name in dict.fromkeys(used)]
    errors = [
        relative(call("GradVac", "gradient_combine", calls[i])["weights"][0], expected[i]) for i in first
    ]
    table.add("row_weights_by_order", "GradVac", errors, 1e-12)


def check_drop(call, cases, table):
    errors = []
    for case in cases:
        entry = case["methods"].get("GradDrop")
        if not entry or "uniform_draws" not in entry:
            continue
        result = call(
            "GradDrop", "gradient_combine", {"grads": case["J"], "weights": [[1.0] * case["m"]],
                                             "uniforms": entry["uniform_draws"]})
        errors.append(gradient_error(result["combined"], entry["gradient"], case["J"]))
    if errors:
        table.add("GradDrop", "GradDrop", errors, 1e-6)  # gradients are in single precision


def check_rules(call, document, table):
    violations = document["violations"]
    for entry, key, rule in RULES:
        expected = document.get(entry, {}).get(key)
        if expected is None:
            continue
        # With a budget of 0 the loss is the violation.
        calls = [{"loss.retention": v} for v in violations]
        results = call(f"{rule}:budget=0", "post_step", calls)
        errors = [abs(r["lambda.retention"] - e) for r, e in zip(results, expected)]
        table.add(f"{entry}: {key}", rule, errors, 1e-12)


def main():
    fixtures = ROOT / "Tests" / "Fixtures"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--craft", default=str(ROOT / ".build/release/craft"))
    parser.add_argument("--cases", nargs="+", default=[str(fixtures / "gradients.json"), str(fixtures / "dual.json")])
    parser.add_argument("--json", help="write the table there too")
    arguments = parser.parse_args()
    call, table = Caller(arguments.craft), Table()
    for path in arguments.cases:
        document = json.loads(pathlib.Path(path).read_text())
        if "violations" in document:
            check_rules(call, document, table)
            continue
        cases = document.get("cases") or document.get("random_cases", []) + document.get("edge_cases", [])
        check_combiners(call, cases, table)
        check_orders(call, cases, table)
        check_drop(call, cases, table)
    print(table.text())
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(table.rows, indent=1) + "\n")
    sys.exit(0 if all(row["ok"] for row in table.rows) else 1)


if __name__ == "__main__":
    main()
