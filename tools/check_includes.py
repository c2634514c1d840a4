#!/usr/bin/env python3
"""Checks who includes whom (docs/design.md, section 1). Prints each breach and exits 1.

Folders are layers: a file may include headers of its own folder and of those in its row below.
Public headers (mica/...) may be included by all of src; programs see the public headers and base.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ALLOWED = {
    "src/base": set(),
    "src/kernel": set(),
    "src/core": {"base"},
    "src/ops": {"core", "base", "kernel"},
    "src/plan": {"core", "base"},
    "src/backend": {"core", "base"},
    "src/format": {"core", "base", "kernel"},
    "src/text": {"base"},
    "src/model": {"core", "base", "format"},
    "src/engine": {"model", "core", "text", "base", "kernel", "format"},
    "src/hub": {"base"},
    "cli": {"base"},
    "server": {"base"},
    "examples": set(),
    "bindings": set(),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
FREE = {"src/kernel"}  # may not even include the public headers


def layer_of(path):
    """The row of ALLOWED that a file belongs to, or None for files without a rule."""
    name = path.relative_to(ROOT).as_posix()
    rows = [row for row in ALLOWED if name.startswith(row + "/")]
    return rows[0] if rows else None


def check(path):
    row = layer_of(path)
    own = row.split("/")[-1]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        target = match.group(1)
        top = target.split("/")[0]
        if "/" not in target and (path.parent / target).exists():
            continue
        if top == "mica" and row not in FREE:
            continue
        if top == own or top in ALLOWED[row]:
            continue
        yield f"{path.relative_to(ROOT)}:{number}: {row} may not include {target}"


def main():
    breaches = []
    for row in ALLOWED:
        for path in sorted((ROOT / row).rglob("*")):
            if path.suffix in {".c", ".h", ".cu", ".cuh", ".m", ".metal"}:
                if re.search(r"_test[_.]", path.name):
                    continue  # tests may look inside
                breaches += check(path)
    print("\n".join(breaches) if breaches else "include rule: kept")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
