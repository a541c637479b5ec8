#!/usr/bin/env python3
"""Writes everything that lists the names of the plugin interface from Sources/PluginAPI/names.json:

    Sources/Training/HookNames.swift          the trainer's registry
    Sources/PluginAPI/include/craft_plugin.h  the list at its end
    docs/PLUGINS.md                           the table under Names

Usage: scripts/generate_names.py [--check]      --check writes nothing and fails when a file is out of date.
"""

import json
import pathlib
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = "Sources/PluginAPI/names.json"
POINTS = ["plan", "pre_backward", "gradient_combine", "post_step"]
NOTE = f"generated from {SOURCE} by scripts/generate_names.py"


def points_text(points):
    if points == POINTS:
        return "everywhere"
    if points == POINTS[1:]:
        return "after plan"
    return ", ".join(points)


def swift_points(points):
    if points == POINTS:
        return "everywhere"
    if points == POINTS[1:]:
        return "afterPlan"
    return "[" + ", ".join("." + p.split("_")[0] + "".join(w.title() for w in p.split("_")[1:]) for p in points) + "]"


def swift(registry):
    groups = registry["groups"]
    axes = ", ".join(f"{letter} {meaning}" for letter, meaning in registry["axes"].items())
    lines = [
        f"// {NOTE[0].upper() + NOTE[1:]}: change names there.",
        "public import PluginRuntime",
        "",
        "extension NameRegistry {",
        "    /// The names this trainer offers to plugins and accepts from them.",
        "    ///",
        *("    /// " + line for line in textwrap.wrap(f"Axis letters: {axes}.", 112)),
        f"    public static let training = NameRegistry({' + '.join(g['id'] for g in groups)})",
        "",
        "    private static let everywhere = Set(HookPoint.allCases)",
        "    private static let afterPlan: Set<HookPoint> = [.preBackward, .gradientCombine, .postStep]",
    ]
    for group in groups:
        lines += ["", f"    /// {group['doc']}", f"    private static let {group['id']}: [Entry] = ["]
        for name in group["names"]:
            parts = [json.dumps(name["name"]), f"type: {json.dumps(name['type'])}"]
            if name["read_at"]:
                parts.append(f"readable: {swift_points(name['read_at'])}")
            if name["given_at"]:
                parts.append(f"producible: {swift_points(name['given_at'])}")
            parts.append(f"provider: .{name['provider']}")
            if "requires" in name:
                parts.append(f"requires: {json.dumps(name['requires'])}")
            parts += [f"{swift_name}: true" for key, swift_name in (("chained", "isChained"), ("shared", "isShared")) if name.get(key)]
            if name["cost"] != "free":
                parts.append(f"cost: .{name['cost']}")
            parts.append(f"doc: {json.dumps(name['doc'], ensure_ascii=False)}")
            lines.append(f"        Entry({', '.join(parts)}),")
        lines.append("    ]")
    text = "\n".join(lines + ["}", ""])
    done = subprocess.run(
        ["swift", "format", "--configuration", str(ROOT / ".swift-format")], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"swift format: {done.stderr}")
    return done.stdout


def header(registry):
    lines = [
        f"/* ---- Names ({NOTE}) " + "-" * 8,
        " *",
        " * name: type, read at | given at (a plugin's results). {...} stands for any name. A name keeps its meaning for ever.",
    ]
    axes = ", ".join(f"{letter} {meaning}" for letter, meaning in registry["axes"].items())
    lines += [" * " + line for line in textwrap.wrap(f"Axes: {axes}.", 114)]
    for group in registry["groups"]:
        for name in group["names"]:
            read, given = points_text(name["read_at"]) or "-", points_text(name["given_at"]) or "-"
            lines += [" *", f" * {name['name']}: {name['type']}      {read} | {given}"]
            lines += [" *     " + line for line in textwrap.wrap(name["doc"], 110)]
    return "\n".join(lines + [" */"])


def table(registry):
    rows = ["| name | type | read at | given at | meaning |", "|---|---|---|---|---|"]
    for group in registry["groups"]:
        for name in group["names"]:
            cost = "" if name["cost"] == "free" else f" Cost: {name['cost']}."
            rows.append(
                f"| `{name['name']}` | `{name['type']}` | {points_text(name['read_at'])} | {points_text(name['given_at'])} "
                f"| {name['doc']}{cost} |")
    return "\n".join(rows)


def between(text, start, end, new):
    """`text` with what stands between the marks replaced by `new`."""
    head, mark, rest = text.partition(start)
    body, last, tail = rest.partition(end)
    if not mark or not last:
        sys.exit(f"the marks '{start.strip()}' and '{end.strip()}' are missing")
    return head + mark + new + last + tail


def main():
    registry = json.loads((ROOT / SOURCE).read_text())
    guide = ROOT / "docs/PLUGINS.md"
    api = ROOT / "Sources/PluginAPI/include/craft_plugin.h"
    outputs = {
        ROOT / "Sources/Training/HookNames.swift": swift(registry),
        api: between(
            api.read_text(), "/* names: begin */\n", "/* names: end */", header(registry) + "\n"),
        guide: between(guide.read_text(), f"<!-- names: {NOTE} -->\n", "<!-- end of names -->", f"\n{table(registry)}\n\n"),
    }
    stale = [path for path, text in outputs.items() if path.read_text() != text]
    for path in stale:
        if "--check" in sys.argv[1:]:
            print(f"{path.relative_to(ROOT)} is out of date: run scripts/generate_names.py", file=sys.stderr)
        else:
            path.write_text(outputs[path])
            print(f"wrote {path.relative_to(ROOT)}")
    if stale and "--check" in sys.argv[1:]:
        sys.exit(1)


if __name__ == "__main__":
    main()
