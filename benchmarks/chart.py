"""Draws what `overhead.py` found: ``python benchmarks/chart.py overhead.json > overhead.svg``.

A bar for each way in each scene, from nothing on. The number beside it is the median; the line on it reaches from
quartile to quartile. A way that adds nothing that can be told from the noise has no bar, and says so; so does one that
broke the scene. It follows the reader's light or dark scheme.
"""

from __future__ import annotations

import json
import sys
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, LINE = 760, 170, 110, 18
OURS = {"metered", "everything on", "idle"}
NOISE = "bare, again"
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.head { font-weight: 600 } .faint, .faint text { fill: #59636e }
.bar { fill: #8c959f } .ours { fill: #0969da } .grid { stroke: #d1d9e0 } .spread { stroke: #1f2328 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .faint, .faint text { fill: #9198a1 }
  .bar { fill: #656c76 } .ours { fill: #4493f8 } .grid { stroke: #3d444d } .spread { stroke: #f0f6fc }
}"""


class Scale:
    """From microseconds to places; it begins at nothing, so that a bar is as long as what it stands for."""

    def __init__(self, values: list[float]) -> None:
        longest = max([*values, 0.1])
        self.step = next(step for power in range(-2, 9) for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
                         if longest / step <= 6)  # fmt: skip
        self.longest = longest

    def __call__(self, value: float) -> float:
        return LEFT + min(max(value / self.longest, 0), 1) * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> list[float]:
        """Round numbers, a handful."""
        return [self.step * place for place in range(int(self.longest / self.step) + 1)]


def number(value: float) -> str:
    """A few microseconds with one place, many with none."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def text(x: float, y: float, said: str, style: str = "", anchor: str = "start") -> str:
    """One line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(said)}</text>'


def unrecorded(row: dict[str, Any]) -> str:
    """What is said beside a way that left no record of the calls, though it is there to do so."""
    silent = not (row["error"] or row["records"] or row["way"] in OURS | {NOISE, "no-op wrapper"})
    return ", no record" if silent else ""


def panel(scene: str, rows: list[dict[str, Any]], top: float) -> tuple[list[str], float]:
    """One scene from a height on, and the height where it ends."""
    quiet = [row["added us"] for row in rows if row["way"] == NOISE and not row["error"]]
    noise = max((abs(figure) for added in quiet for figure in added.values()), default=0)
    shown = [row for row in rows if not row["error"] and row["added us"]["median"] > noise]
    scale = Scale([row["added us"]["high"] for row in shown])
    end = top + LINE * (len(rows) + 1.5)
    drawn = [text(0, top + 12, f"{scene}, microseconds added per {rows[0]['per']}", "head")]
    for tick in scale.ticks():
        x = scale(tick)
        drawn.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 20:.1f}" y2="{end - 6:.1f}"/>')
        drawn.append(text(x, end + 8, f"{tick:g}", "faint", "middle"))
    for place, row in enumerate(rows):
        y = top + LINE * (place + 1.5)
        drawn.append(text(LEFT - 8, y + 10, row["way"], "", "end"))
        if row not in shown:
            said = "broken" if row["error"] else f"noise: ±{number(noise)}" if row["way"] == NOISE else "in the noise"
            drawn.append(text(LEFT + 4, y + 10, said + unrecorded(row), "faint"))
            continue
        low, middle, high = (row["added us"][name] for name in ("low", "median", "high"))
        style = "bar ours" if row["way"] in OURS else "bar"
        drawn.append(
            f'<rect class="{style}" x="{LEFT}" y="{y:.1f}" width="{max(scale(middle) - LEFT, 1):.1f}" height="13"/>'
        )
        spread = f'x1="{scale(low):.1f}" x2="{scale(high):.1f}" y1="{y + 6.5:.1f}" y2="{y + 6.5:.1f}"'
        drawn.append(f'<line class="spread" {spread}/>')
        drawn.append(text(max(scale(middle), scale(high)) + 6, y + 10, number(middle) + unrecorded(row)))
    return drawn, end + 30


def chart(found: dict[str, Any]) -> str:
    """The whole chart as SVG."""
    scenes: dict[str, list[dict[str, Any]]] = {}
    for row in found["rows"]:
        if row["scenario"] != "none":
            scenes.setdefault(row["scenario"], []).append(row)
    drawn, top = [text(0, 16, found["title"], "head"), text(0, 34, found["about"], "faint")], 50.0
    for scene, rows in scenes.items():
        lines, top = panel(scene, rows, top)
        drawn += lines
    told = "; ".join(
        f"{row['scenario']}, {row['way']}: {'broken' if row['error'] else number(row['added us']['median'])}"
        for rows in scenes.values()
        for row in rows
    )
    box = f"-12 -4 {WIDTH + 24} {top:.0f}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" aria-labelledby="title desc">',
            f'<title id="title">{escape(found["title"])}</title>',
            f'<desc id="desc">Median of the microseconds added. {escape(told)}</desc>',
            f"<style>{STYLE}</style>",
            *drawn,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(chart(json.load(file)))
