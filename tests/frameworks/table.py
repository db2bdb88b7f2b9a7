"""Prints what the programs of this folder have written: the files with their last lines are the arguments."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
for name, justify in (
    ("Framework", "left"), ("Version", "left"), ("Way", "left"), ("HTTP calls", "right"), ("Records", "right"),
    ("Tokens", "right"), ("USD", "right"), ("", "left"),
):  # fmt: skip
    table.add_column(name, justify=justify)
failed = 0
for file in map(Path, sys.argv[1:]):
    try:
        said = json.loads(file.read_text(encoding="utf-8").strip().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        failed += 1
        table.add_row(file.stem, "?", Text("did not end", "red"), "", "", "", "", Text("✗", "red"))
        continue
    failed += not said["ok"]
    for place, way in enumerate(said["ways"]):
        head = (said["framework"], said["version"]) if not place else ("", "")
        end = Text("ok " + way["note"], "green") if way["ok"] else Text(f"✗ {way['error']}", "red")
        counts = str(way["http"]), str(way["records"]), str(way["tokens_counted"]), way["cost_counted"]
        table.add_row(*head, way["way"], *counts, end)
console = Console()
if not console.is_terminal:
    console.width = 150
console.print(table)
console.print(f"{len(sys.argv) - 1} programs, {failed} failed")
raise SystemExit(failed > 0)
