"""Runs the samples of README.md and of the pages in openai_meter/docs, and compares what they print.

How a page is read, from top to bottom, in one namespace and one empty directory:

- a ``python`` block is run;
- a ``bash`` block is checked: each command ``openai-meter ...`` has to exist, with these options. If a ``text`` block
  follows, the commands are run;
- a ``text`` block behind a block that was run is what it printed;
- a block behind the comment ``<!-- not run: REASON -->`` is only compiled.

``python tests/support/pages.py`` writes what the samples print into the pages.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from paths import PACKAGE, ROOT

import openai_meter
from openai_meter.testing.fake_api.server import DemoServer

PAGES = (ROOT / "README.md", *sorted((PACKAGE / "docs").glob("*.md")))
_BLOCK = re.compile(r"(?:<!-- (?P<why>not run: [^>]*?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL)


class Block(NamedTuple):
    """One block of code of a page."""

    language: str
    text: str
    why_not_run: str | None
    start: int
    """Where its text begins in the page."""
    follows: bool
    """Whether only blank lines are between it and the block before."""


class Sample(NamedTuple):
    """A block that was run, and what the page says that it prints."""

    code: Block
    printed: str
    expected: Block | None


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    found: list[Block] = []
    end = -1
    for match in _BLOCK.finditer(page):
        follows = end >= 0 and not page[end : match.start()].strip()
        found.append(Block(match["language"], match["text"], match["why"], match.start("text"), follows))
        end = match.end()
    return found


def commands(block: Block) -> list[list[str]]:
    """The commands of ours in a ``bash`` block, as lists of arguments."""
    joined = block.text.replace("\\\n", " ")
    found = []
    for line in joined.splitlines():
        words = shlex.split(line.partition("  #")[0])
        while words and "=" in words[0]:
            words.pop(0)
        if words and words[0].rsplit("/", 1)[-1] == "openai-meter":
            found.append(words[1:])
    return found


@contextlib.contextmanager
def surroundings() -> Iterator[DemoServer]:
    """An empty directory, and the local stand-in for the API."""
    settings = {
        "OPENAI_API_KEY": "demo", "OPENAI_METER_HOSTS": "127.0.0.1=openai", "OPENAI_METER_LANG": "en",
        "COLUMNS": "100", "NO_PROXY": "*",
    }  # fmt: skip
    before, here = dict(os.environ), Path.cwd()
    with tempfile.TemporaryDirectory() as folder, DemoServer() as server:
        os.environ.update(settings, OPENAI_BASE_URL=server.base_url)
        os.environ.pop("OPENAI_METER_LEDGER", None)
        os.chdir(folder)
        try:
            yield server
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)


def _printed(run: Any) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        run()
    return "\n".join(line.rstrip() for line in output.getvalue().strip("\n").splitlines())


def _run_command(arguments: list[str]) -> None:
    from openai_meter import cli

    before = sys.argv
    sys.argv = ["openai-meter", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise AssertionError(f"openai-meter {' '.join(arguments)} ended with {end.code}") from end
    finally:
        sys.argv = before


def check_command(arguments: list[str]) -> None:
    """Reads a command line as the command does, without doing its work.

    Raises:
        AssertionError: there is no such command or option.
    """
    from openai_meter.cli import app

    if arguments[:1] == ["run"]:  # it would look for the program
        _check_options_of_run(arguments[1:])
        return
    try:
        app._read_with_typer(arguments)
    except SystemExit as end:
        raise AssertionError(f"openai-meter {' '.join(arguments)} ended with {end.code}") from end


def _check_options_of_run(arguments: list[str]) -> None:
    import typer

    from openai_meter.cli import app

    command = typer.main.get_command(app._make_app()).commands["run"]
    takes_value = {name: not option.is_flag for option in command.params for name in option.opts if name[0] == "-"}
    while arguments and arguments[0].startswith("-"):
        assert arguments[0] in takes_value or arguments[0] == "-m", f"openai-meter run has no option {arguments[0]}"
        arguments = arguments[2:] if takes_value.get(arguments[0]) else arguments[1:]
    assert arguments, "openai-meter run needs a program"


def run(path: Path) -> Iterator[Sample]:
    """Runs the samples of a page; yields each with what it printed. Use it inside :func:`surroundings`."""
    names: dict[str, Any] = {"__name__": "__main__"}
    found = blocks(path.read_text(encoding="utf-8"))
    for block, after in zip_longest(found, found[1:]):
        expected = after if after is not None and after.follows and after.language == "text" else None
        if block.language == "python":
            code = compile(block.text, f"{path.name}:{block.start}", "exec")
            if block.why_not_run is None:
                yield Sample(block, _printed(lambda code=code: exec(code, names)), expected)
        elif block.language == "bash" and expected is not None and block.why_not_run is None:
            for arguments in commands(block):
                yield Sample(block, _printed(lambda arguments=arguments: _run_command(arguments)), expected)


def renew(path: Path) -> bool:
    """Writes what the samples print into a page; whether that changed it."""
    text = path.read_text(encoding="utf-8")
    with surroundings():
        samples = list(run(path))
    openai_meter.uninstall()
    new = text
    for sample in reversed(samples):
        if sample.expected is not None:
            start = sample.expected.start
            new = new[:start] + sample.printed + "\n" + new[start + len(sample.expected.text) :]
    if new != text:
        path.write_text(new, encoding="utf-8")
    return new != text


if __name__ == "__main__":
    import subprocess

    if len(sys.argv) > 1:
        print(sys.argv[1], "changed" if renew(Path(sys.argv[1])) else "is as it was")
    else:
        for page in PAGES:  # each in a process of its own: what a page installs must not reach the next
            subprocess.run([sys.executable, __file__, str(page)], check=False)
