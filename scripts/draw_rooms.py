#!/usr/bin/env python3
"""Draws the rooms of Sources/ and what they stand on, from Package.swift, into docs/PROJECT_STRUCTURE.md.

Usage: scripts/draw_rooms.py [--check]      --check writes nothing and fails when the drawing is out of date.

An arrow that follows from others is left out, as are system libraries and other packages.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/PROJECT_STRUCTURE.md"
BEGIN, END = "<!-- rooms: scripts/draw_rooms.py -->\n", "<!-- end of rooms -->"


def rooms():
    """The targets under Sources/ and the other rooms that each names as a dependency."""
    dump = subprocess.run(["swift", "package", "dump-package"], cwd=ROOT, check=True, capture_output=True, text=True)
    targets = [t for t in json.loads(dump.stdout)["targets"] if t["type"] in ("regular", "executable")]
    paths = {t["name"]: t.get("path") or f"Sources/{t['name']}" for t in targets}
    names = {name for name, path in paths.items() if path.startswith("Sources/")}
    return {t["name"]: {d["byName"][0] for d in t["dependencies"] if "byName" in d} & names for t in targets if t["name"] in names}


def below(room, graph):
    return set().union(*({d} | below(d, graph) for d in graph[room])) if graph[room] else set()


def drawing(graph):
    lines = ["```mermaid", "graph TD"]
    for room in sorted(graph):
        implied = set().union(*(below(d, graph) for d in graph[room])) if graph[room] else set()
        lines += [f"  {room} --> {d}" for d in sorted(graph[room] - implied)]
    return "\n".join(lines + ["```", ""])


def main():
    page = PAGE.read_text()
    drawn = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: BEGIN + drawing(rooms()) + END, page, flags=re.S)
    if drawn == page:
        return
    if "--check" in sys.argv[1:]:
        sys.exit(f"{PAGE.relative_to(ROOT)} is out of date: run scripts/draw_rooms.py")
    PAGE.write_text(drawn)


main()
