#!/usr/bin/env python3
"""Writes everything that lists the names and the codes of the plugin interface from Sources/PluginAPI/names.json:

    Sources/PluginRuntime/HookNames.swift       the registry of names
    Sources/PluginRuntime/HookCodes.swift       the codes, for the host
    Sources/PluginKit/HookCodes.swift           the codes, for plugins in Swift
    Sources/PluginAPI/include/craft_plugin.h    the list at its end, and the codes
    Sources/PluginAPI/include/craft_plugin.hpp  the codes
    SDK/rust/src/codes.rs                       the codes
    docs/PLUGINS.md                             the tables under Names

Usage: scripts/generate_names.py [--check]      --check writes nothing and fails when a file is out of date.
"""

import json
import pathlib
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = "Sources/PluginAPI/names.json"
POINTS = ["plan", "pre_backward", "gradient_combine", "post_step", "evaluate", "finish"]
STEP_POINTS = POINTS[1:4]
NOTE = f"generated from {SOURCE} by scripts/generate_names.py"
SWIFT_NOTE = f"// {NOTE[0].upper() + NOTE[1:]}: change {{}} there."


def camel(name, first=False):
    words = name.split("_")
    return "".join(w if i == 0 and not first else w[:1].upper() + w[1:] for i, w in enumerate(words))


def in_a_step(points):
    """`points` with the three of a step as one item, in their order."""
    if not all(p in points for p in STEP_POINTS):
        return points
    return [p for p in points if p not in STEP_POINTS[1:]]


def points_text(points):
    if points == POINTS:
        return "everywhere"
    if points == POINTS[1:]:
        return "after plan"
    short = in_a_step(points)
    return ", ".join("in a step" if short != points and p == STEP_POINTS[0] else p for p in short)


def swift_points(points):
    if points == POINTS:
        return "everywhere"
    if points == POINTS[1:]:
        return "afterPlan"
    if points == STEP_POINTS:
        return "inAStep"
    short = in_a_step(points)
    if short != points:
        rest = [p for p in short if p != STEP_POINTS[0]]
        return f"inAStep.union([{', '.join('.' + camel(p) for p in rest)}])"
    return "[" + ", ".join("." + camel(p) for p in points) + "]"


def values_text(table):
    """`0 tensor, 1 layer`, and what else there is."""
    rest = ", else an index" if table.get("open") else ""
    return ", ".join(f"{value['code']} {value['name']}" for value in table["values"]) + rest


def full_doc(name, registry):
    """A name's meaning with its codes and, where not every host has it, its hosts."""
    parts = [name["doc"]]
    if "code" in name:
        parts.append(f"Codes {name['code']}: {values_text(registry['codes'][name['code']])}.")
    if "hosts" in name:
        parts.append(f"Hosts: {', '.join(name['hosts'])}.")
    return " ".join(parts)


def formatted(lines):
    done = subprocess.run(
        ["swift", "format", "--configuration", str(ROOT / ".swift-format")], input="\n".join(lines + [""]),
        capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"swift format: {done.stderr}")
    return done.stdout


def swift(registry):
    groups = registry["groups"]
    axes = ", ".join(f"{letter} {meaning}" for letter, meaning in registry["axes"].items())
    lines = [
        SWIFT_NOTE.format("names"),
        "extension NameRegistry {",
        "    /// The names that craft's hosts offer to plugins and accept from them.",
        "    ///",
        *("    /// " + line for line in textwrap.wrap(f"Axis letters: {axes}.", 112)),
        f"    package static let training = NameRegistry({' + '.join(g['id'] for g in groups)})",
        "",
        "    private static let inAStep: Set<HookPoint> = [.preBackward, .gradientCombine, .postStep]",
    ]
    body = []
    for group in groups:
        body += ["", f"    /// {group['doc']}", f"    private static let {group['id']}: [Entry] = ["]
        for name in group["names"]:
            parts = [json.dumps(name["name"]), f"type: {json.dumps(name['type'])}"]
            if name["read_at"]:
                parts.append(f"readable: {swift_points(name['read_at'])}")
            if name["given_at"]:
                parts.append(f"producible: {swift_points(name['given_at'])}")
            parts.append(f"provider: .{name['provider']}")
            parts += [f"{key}: {json.dumps(name[key])}" for key in ("requires", "after", "code") if key in name]
            parts += [f"{swift_name}: true" for key, swift_name in (("chained", "isChained"), ("shared", "isShared"), ("collected", "isCollected")) if name.get(key)]
            if "hosts" in name:
                parts.append(f"hosts: [{', '.join('.' + host for host in name['hosts'])}]")
            if name["cost"] != "free":
                parts.append(f"cost: .{name['cost']}")
            parts.append(f"doc: {json.dumps(name['doc'], ensure_ascii=False)}")
            body.append(f"        Entry({', '.join(parts)}),")
        body.append("    ]")
    for constant, value in (("afterPlan", "inAStep.union([.evaluate, .finish])"), ("everywhere", "Set(HookPoint.allCases)")):
        if any(f": {constant}" in line for line in body):
            lines.append(f"    private static let {constant} = {value}")
    return formatted(lines + body + ["}"])


# ---- Codes


def swift_cases(table, indent="    "):
    lines = []
    for value in table["values"]:
        lines += [f"{indent}/// {value['doc']}", f"{indent}case {camel(value['name'])} = {value['code']}"]
    return lines


def swift_constants(table, access, indent="    "):
    lines = []
    for value in table["values"]:
        lines += [f"{indent}/// {value['doc']}", f"{indent}{access} static let {camel(value['name'])} = {value['code']}"]
    return lines


def kit_codes(registry):
    lines = [SWIFT_NOTE.format("codes")]
    for name, table in registry["codes"].items():
        lines += ["", f"/// {table['doc']}"]
        if table.get("open"):
            lines += [f"public enum {camel(name, True)} {{", *swift_constants(table, "public"), "}"]
            continue
        lines += [
            f"public enum {camel(name, True)}: Int64, HookCode {{", *swift_cases(table), "",
            "    /// As a user types it.", "    public var name: String {", "        switch self {",
            *(f"        case .{camel(v['name'])}: {json.dumps(v['name'])}" for v in table["values"]), "        }", "    }", "}",
        ]
    return formatted(lines)


def runtime_codes(registry):
    lines = [SWIFT_NOTE.format("codes"), "", "extension CodeTable {", "    /// Every table of the plugin interface."]
    lines += [f"    package static let all = [{', '.join(camel(name) for name in registry['codes'])}]"]
    for name, table in registry["codes"].items():
        lines += ["", f"    /// {table['doc']}", f"    package static let {camel(name)} = CodeTable("]
        lines += [f"        name: {json.dumps(name)}, doc: {json.dumps(table['doc'])}, isOpen: {str(bool(table.get('open'))).lower()},"]
        rows = [f"            Value(name: {json.dumps(v['name'])}, code: {v['code']}, doc: {json.dumps(v['doc'])})," for v in table["values"]]
        lines += ["        values: [", *rows, "        ])"]
    lines += ["}"]
    for name, table in registry["codes"].items():
        lines += ["", f"/// {table['doc']}"]
        if table.get("open"):
            lines += [f"package enum {camel(name, True)} {{", *swift_constants(table, "package"), "}"]
            continue
        lines += [
            f"package enum {camel(name, True)}: Int64, HookCode {{", *swift_cases(table), "",
            f"    package static var table: CodeTable {{ .{camel(name)} }}", "}",
        ]
    return formatted(lines)


def c_codes(registry):
    lines = [f"/* ---- Codes ({NOTE}) " + "-" * 8 + " */"]
    for name, table in registry["codes"].items():
        lines += ["", f"/* {table['doc']} */", "enum {"]
        rows = [(f"CRAFT_{name}_{v['name']}".upper() + f" = {v['code']},", v["doc"]) for v in table["values"]]
        width = max(len(row) for row, _ in rows)
        lines += [f"    {row.ljust(width)} /* {doc} */" for row, doc in rows] + ["};"]
    return "\n".join(lines)


def cpp_codes(registry):
    lines = [f"/* ---- Codes ({NOTE}) " + "-" * 8]
    lines += [" *", " * Of a closed list an enumeration, whose values are given by `code`; of an open one, constants. */"]
    lines += ["", "template <class E>", "    requires std::is_enum_v<E>",
              "constexpr std::int64_t code(E value) { return static_cast<std::int64_t>(value); }"]
    for name, table in registry["codes"].items():
        lines += ["", f"/* {table['doc']} */"]
        if table.get("open"):
            lines += [f"namespace {name} {{"]
            lines += [f"inline constexpr std::int64_t {v['name']} = {v['code']}; /* {v['doc']} */" for v in table["values"]]
            lines += [f"}}  // namespace {name}"]
            continue
        lines += [f"enum class {name} : std::int64_t {{"]
        lines += [f"    {v['name']} = {v['code']}, /* {v['doc']} */" for v in table["values"]] + ["};"]
    return "\n".join(lines)


def rust_codes(registry):
    lines = [
        f"//! The integers that stand for a choice in the plugin interface: {NOTE}.", "//!",
        "//! `BlockScope::Layer as i64` is the code; an `Out<i64>` takes the choice itself.",
    ]
    for name, table in registry["codes"].items():
        lines += ["", f"/// {table['doc']}"]
        if table.get("open"):
            lines += [f"pub mod {name} {{"]
            for v in table["values"]:
                lines += [f"    /// {v['doc']}", f"    pub const {v['name'].upper()}: i64 = {v['code']};"]
            lines += ["}"]
            continue
        lines += ["#[derive(Clone, Copy, Debug, PartialEq, Eq)]", "#[repr(i64)]", f"pub enum {camel(name, True)} {{"]
        for v in table["values"]:
            lines += [f"    /// {v['doc']}", f"    {camel(v['name'], True)} = {v['code']},"]
        lines += ["}", "", f"impl From<{camel(name, True)}> for i64 {{", f"    fn from(value: {camel(name, True)}) -> i64 {{",
                  "        value as i64", "    }", "}"]
    return "\n".join(lines + [""])


# ---- Header and guide


def header(registry):
    lines = [
        f"/* ---- Names ({NOTE}) " + "-" * 8,
        " *",
        " * name: type, read at | given at (a plugin's results). {...} stands for any name. A name keeps its meaning permanently.",
        " * \"In a step\" is at pre_backward, gradient_combine and post_step.",
    ]
    axes = ", ".join(f"{letter} {meaning}" for letter, meaning in registry["axes"].items())
    lines += [" * " + line for line in textwrap.wrap(f"Axes: {axes}.", 114)]
    lines += [" * Hosts, where a name is not in every one:"]
    for host, meaning in registry["hosts"].items():
        lines += [" * " + line for line in textwrap.wrap(f"    {host.ljust(10)}{meaning}", 114)]
    for group in registry["groups"]:
        for name in group["names"]:
            read, given = points_text(name["read_at"]) or "-", points_text(name["given_at"]) or "-"
            lines += [" *", f" * {name['name']}: {name['type']}      {read} | {given}"]
            lines += [" *     " + line for line in textwrap.wrap(full_doc(name, registry), 110)]
    return "\n".join(lines + [" */"])


def table(registry):
    rows = ["| name | type | read at | given at | meaning |", "|---|---|---|---|---|"]
    for group in registry["groups"]:
        for name in group["names"]:
            cost = "" if name["cost"] == "free" else f" Cost: {name['cost']}."
            rows.append(
                f"| `{name['name']}` | `{name['type']}` | {points_text(name['read_at'])} | {points_text(name['given_at'])} "
                f"| {full_doc(name, registry)}{cost} |")
    rows += ["", "| host | |", "|---|---|"]
    rows += [f"| `{host}` | {meaning} |" for host, meaning in registry["hosts"].items()]
    rows += ["", "| codes | values |", "|---|---|"]
    for name, codes in registry["codes"].items():
        values = " ".join(f"{v['code']} `{v['name']}`: {v['doc']}" for v in codes["values"])
        rows.append(f"| `{name}` | {codes['doc']} {values} |")
    return "\n".join(rows)


def between(text, start, end, new):
    """`text` with what stands between the marks replaced by `new`."""
    head, mark, rest = text.partition(start)
    body, last, tail = rest.partition(end)
    if not mark or not last:
        sys.exit(f"the marks '{start.strip()}' and '{end.strip()}' are missing")
    return head + mark + new + last + tail


def check(registry):
    """What the file says must fit together."""
    if list(registry["points"]) != POINTS:
        sys.exit(f"{SOURCE}: points are {list(registry['points'])}; expected {POINTS}")
    names = [name for group in registry["groups"] for name in group["names"]]
    known = {name["name"] for name in names}
    for name in names:
        said = [("host", host, registry["hosts"]) for host in name.get("hosts", [])]
        said += [(key, name[key], allowed) for key, allowed in (("code", registry["codes"]), ("after", known)) if key in name]
        for key, value, allowed in said:
            if value not in allowed:
                sys.exit(f"{SOURCE}: '{name['name']}' has {key} '{value}'; there are {', '.join(sorted(allowed))}")


def main():
    registry = json.loads((ROOT / SOURCE).read_text())
    check(registry)
    guide = ROOT / "docs/PLUGINS.md"
    c = ROOT / "Sources/PluginAPI/include/craft_plugin.h"
    cpp = ROOT / "Sources/PluginAPI/include/craft_plugin.hpp"
    names = between(c.read_text(), "/* names: begin */\n", "/* names: end */", header(registry) + "\n")
    outputs = {
        ROOT / "Sources/PluginRuntime/HookNames.swift": swift(registry),
        ROOT / "Sources/PluginRuntime/HookCodes.swift": runtime_codes(registry),
        ROOT / "Sources/PluginKit/HookCodes.swift": kit_codes(registry),
        c: between(names, "/* codes: begin */\n", "/* codes: end */", c_codes(registry) + "\n"),
        cpp: between(cpp.read_text(), "/* codes: begin */\n", "/* codes: end */", cpp_codes(registry) + "\n"),
        ROOT / "SDK/rust/src/codes.rs": rust_codes(registry),
        guide: between(guide.read_text(), f"<!-- names: {NOTE} -->\n", "<!-- end of names -->", f"\n{table(registry)}\n\n"),
    }
    stale = [path for path, text in outputs.items() if not path.exists() or path.read_text() != text]
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
