"""Makes the pictures of the README: ``python -m openai_meter.docs.make_pictures [FOLDER]``.

``terminal.svg`` is the summary of a made-up week, the same each time. ``dashboard.png`` is the dashboard over sixty
days of the same history up to now; it needs ``openai-meter[server]``, playwright and a Chromium on the machine.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import openai_meter
from openai_meter.testing.demo_history import demo_calls

__all__ = ["dashboard", "terminal"]

_UNTIL = datetime(2026, 11, 27, 17, 30, tzinfo=UTC)
"""The end of the week in the terminal."""
_COLUMNS = 100


class _Terminal(io.StringIO):
    """A file that the table is drawn for as for a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(file: Path) -> None:
    """Writes the summary as a terminal shows it, as SVG."""
    from rich.console import Console  # noqa: PLC0415 - for this picture only
    from rich.text import Text  # noqa: PLC0415

    meter = openai_meter.Meter(thresholds=False)
    for call in demo_calls(_UNTIL, days=7):
        meter._take(call)
    written = _Terminal()
    with _environment(COLUMNS=str(_COLUMNS), TERM="xterm-256color", COLORTERM="", NO_COLOR="", FORCE_COLOR=""):
        meter.print_summary(written, by="agent,model", lang="en")
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in written.getvalue().splitlines():
        console.print(Text.from_ansi(line))
    drawn = console.export_svg(title="openai-meter", unique_id="openai-meter")
    # rich names a font of a web server; a picture loads nothing.
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    file.write_text(drawn + "\n", encoding="utf-8")


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Sets variables of the environment for a while; an empty value removes one."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value:
            os.environ[name] = value


def dashboard(file: Path) -> None:
    """Writes the first screen of the dashboard, as PNG."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a tool of developers

    from openai_meter.server import start  # noqa: PLC0415 - an extra

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("the dashboard's picture needs a Chromium: install one, and have it on PATH")
    with tempfile.TemporaryDirectory() as folder:
        ledger = openai_meter.Ledger(f"sqlite:///{folder}/usage.db", spool=f"{folder}/spool")
        ledger.import_calls(demo_calls(datetime.now(UTC)))
        with start(ledger=ledger, port=0) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(
                viewport={"width": 1280, "height": 800}, locale="en-US", timezone_id="UTC", reduced_motion="reduce"
            )
            page.goto(f"{server.url}/dashboard?period=30d&group=agent")
            page.wait_for_selector("body[data-ready=yes]")
            page.wait_for_selector("#plot[data-drawn]")
            page.screenshot(path=str(file))
            browser.close()
        ledger.close()


def main() -> None:
    """Writes both pictures into a folder; by default the one of this file."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    terminal(folder / "terminal.svg")
    dashboard(folder / "dashboard.png")


if __name__ == "__main__":
    main()
