#!/usr/bin/env python3
"""Draws the results of run.py as an SVG: chart.py results.json OUT.svg [README.md]

One block a model, one group of bars a test; a bar is the speed against llama.cpp's (the line at 1),
or against the fastest peer where llama.cpp has no number, and ends in tokens a second. The colours
follow the reader's light or dark theme. The table of a README is written anew, too, between the
lines <!-- bench --> and <!-- /bench -->. Needs nothing but Python 3.
"""
import io
import json
import pathlib
import sys
from xml.sax.saxutils import escape

from run import MODELS as NAMES, print_table

WIDTH, LEFT, RIGHT = 760, 150, 70
BAR, GAP, BLOCK_GAP, TOP, BOTTOM = 13, 12, 34, 62, 46
ENGINES = (("mica", "mica"), ("llama.cpp", "llama"), ("mlx", "mlx"))
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.model { font-weight: 600; }
.small { font-size: 11px; fill: #57606a; }
.line { stroke: #8c959f; stroke-dasharray: 3 3; }
.mica { fill: #0969da; } .llama { fill: #bf8700; } .mlx { fill: #8250df; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; } .line { stroke: #6e7681; }
  .mica { fill: #4493f8; } .llama { fill: #d29922; } .mlx { fill: #ab7df8; }
}
"""


def groups(results):
    """(model, label, {engine: tok/s}) in the order of the table."""
    for cell in results["cells"]:
        for test, word in (("tg", "decode"), ("pp", "prefill")):
            speeds = {e: cell["engines"][e][test]["median"] for e, _ in ENGINES
                      if e in cell["engines"]}
            if speeds:
                yield cell["model"], f"{cell['format']} {word} {cell[test]}", speeds


def reference(speeds):
    """The speed that counts as 1."""
    peers = [s for e, s in speeds.items() if e != "mica"]
    return speeds.get("llama.cpp") or (max(peers) if peers else speeds["mica"])


def draw(results):
    rows = list(groups(results))
    most = max(s / reference(speeds) for _, _, speeds in rows for s in speeds.values())
    scale = (WIDTH - LEFT - RIGHT) / max(most, 1)
    m = results["machine"]
    machine = (f"{m['device']} ({m['level']}), {results['threads']} threads, reads "
               f"{(m['read_bytes_per_second'] or 0) / 1e9:.0f} GB/s; medians of "
               f"{results['rounds']} rounds, {m['date']}")
    parts = [f'<text class="title" x="12" y="24">Speed against llama.cpp (1 = as fast)</text>',
             f'<text class="small" x="12" y="42">{escape(machine)}</text>']
    y, model = TOP, None
    for name, label, speeds in rows:
        if name != model:
            y += BLOCK_GAP - GAP if model else 0
            parts.append(f'<text class="model" x="12" y="{y + 10}">{escape(NAMES[name])}</text>')
            y, model = y + 18, name
        middle = y + BAR * len(speeds) / 2 + 4
        parts.append(f'<text x="{LEFT - 10}" y="{middle:.0f}" text-anchor="end">{escape(label)}</text>')
        for engine, style in ENGINES:
            if engine not in speeds:
                continue
            length = max(speeds[engine] / reference(speeds) * scale, 1)
            parts.append(f'<rect class="{style}" x="{LEFT}" y="{y}" width="{length:.1f}" '
                         f'height="{BAR - 2}"/>')
            parts.append(f'<text class="small" x="{LEFT + length + 5:.1f}" y="{y + BAR - 3}">'
                         f'{speeds[engine]:.1f}</text>')
            y += BAR
        y += GAP
    x = LEFT + scale
    parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y}"/>')
    parts.append(f'<text class="small" x="{x:.1f}" y="{y + 12}" text-anchor="middle">1</text>')
    for i, (engine, style) in enumerate(ENGINES):
        at = LEFT + i * 120
        parts.append(f'<rect class="{style}" x="{at}" y="{y + 22}" width="11" height="11"/>')
        text = "MLX" if engine == "mlx" else engine
        parts.append(f'<text x="{at + 17}" y="{y + 32}">{text}, tok/s</text>')
    height = y + BOTTOM
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" '
            f'aria-label="Speed of mica, llama.cpp and MLX">\n<style>{STYLE}</style>\n'
            + "\n".join(parts) + "\n</svg>\n")


def write_table(results, path):
    text = path.read_text()
    begin, end = "<!-- bench -->\n", "<!-- /bench -->\n"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{path}: wanted one line <!-- bench --> and one <!-- /bench -->")
    table = io.StringIO()
    print_table(results, table)
    head, rest = text.split(begin)
    path.write_text(head + begin + table.getvalue() + end + rest.split(end)[1])


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit("usage: chart.py results.json OUT.svg [README.md]")
    results = json.loads(pathlib.Path(sys.argv[1]).read_text())
    pathlib.Path(sys.argv[2]).write_text(draw(results))
    if len(sys.argv) == 4:
        write_table(results, pathlib.Path(sys.argv[3]))


if __name__ == "__main__":
    main()
