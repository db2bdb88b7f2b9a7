"""The diagnosis as a person reads it: a table of the calls that were tried, and the other findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from openai_meter.cli.doctor.diagnosis import BAD, Diagnosis, Finding, Level, Mode, Trial
from openai_meter.core.locale import Messages
from openai_meter.reports.text import fitting, shown

__all__ = ["print_diagnosis"]

_SIGNS: dict[Level, str] = {"ok": "✓", "warning": "!", "problem": "✗"}
_PLAIN_SIGNS: dict[Level, str] = {"ok": "ok", "warning": "!", "problem": "X"}
_STYLES: dict[Level, str] = {"ok": "green", "warning": "yellow", "problem": "red"}
_PIPE_WIDTH = 120
_SENTENCE = 1000


class _Page:
    """What all parts of the page need."""

    def __init__(self, m: Messages, file: TextIO) -> None:
        self.m = m
        self.console = Console(file=file, highlight=False, markup=False, emoji=False)
        if not self.console.is_terminal:
            self.console.width = max(self.console.width, _PIPE_WIDTH)
        try:
            "".join(_SIGNS.values()).encode(self.console.encoding)
            self.signs = _SIGNS
        except (UnicodeError, LookupError):
            self.signs = _PLAIN_SIGNS

    def text(self, text: str, style: str = "") -> Text:
        """Names from outside are data: as Text they cannot be markup."""
        return Text(fitting(shown(text, _SENTENCE), self.console.encoding), style)

    def sign(self, level: Level) -> Text:
        return Text(self.signs[level], _STYLES[level])


def print_diagnosis(diagnosis: Diagnosis, m: Messages, file: TextIO) -> None:
    """Prints a diagnosis. Never wider than the terminal."""
    page = _Page(m, file)
    parts: list[RenderableType] = [page.text(_head(diagnosis, m), "bold"), ""]
    if diagnosis.trials:
        parts += [_calls(diagnosis, page), *_beside(diagnosis, page), ""]
    parts += [_findings(diagnosis, page), "", _sum(diagnosis, page)]
    page.console.print(Group(*parts))


def _head(diagnosis: Diagnosis, m: Messages) -> str:
    sdk = diagnosis.sdk or m("none")
    return m("head", meter=diagnosis.meter, sdk=sdk, python=diagnosis.python)


# --- the calls that were tried ----------------------------------------------------------------------------------------


def _calls(diagnosis: Diagnosis, page: _Page) -> Table:
    m = page.m
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("")
    table.add_column(page.text(m("column.call")), overflow="fold", ratio=1)
    for name in ("sync", "async"):
        table.add_column(page.text(m(f"column.{name}")), justify="right", no_wrap=True)
    for name in ("tokens", "unchanged", "outcome"):
        table.add_column(page.text(m(f"column.{name}")), overflow="fold")
    for trial in diagnosis.trials:
        if trial.outcome != "absent":
            table.add_row(*_cells(trial, page))
    return table


def _cells(trial: Trial, page: _Page) -> Iterator[Text]:
    m = page.m
    style = "" if trial.level == "ok" else _STYLES[trial.level]
    yield page.sign(trial.level)
    yield page.text(trial.name, style)
    yield from (Text(_records(trial, mode), style) for mode in (trial.sync, trial.asynchronous))
    yield page.text("-" if trial.usage is None else m(f"usage.{trial.usage}"))
    same = trial.unchanged
    yield page.text("-" if same is None else m("yes" if same else "no"), "" if same in (True, None) else style)
    yield page.text(m(f"outcome.{trial.outcome}"), style)


def _records(trial: Trial, mode: Mode | None) -> str:
    """How many records: of how many, where that differs."""
    if mode is None or mode.records is None:
        return "-"
    return str(mode.records) if mode.records == trial.expected else f"{mode.records}/{trial.expected}"


def _beside(diagnosis: Diagnosis, page: _Page) -> Iterator[RenderableType]:
    """What does not fit into the table: the shapes that this SDK does not have, and the messages of exceptions."""
    absent = [trial.name for trial in diagnosis.trials if trial.outcome == "absent"]
    if absent:
        yield page.text(page.m("absent", version=diagnosis.sdk, names="; ".join(absent)), "dim")
    for trial in diagnosis.trials:
        details = dict.fromkeys(mode.detail for mode in trial.modes if mode.detail)
        for detail in details:
            yield page.text(f"{trial.name}: {detail}", _STYLES[trial.level])
    if any(trial.outcome in BAD for trial in diagnosis.trials):
        yield page.text(page.m("miscounted"), "red")


# --- and the other findings ---------------------------------------------------------------------------------------


def _findings(diagnosis: Diagnosis, page: _Page) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for finding in diagnosis.findings:
        area = "" if finding.area == before else page.m(f"area.{finding.area}")
        table.add_row(
            page.sign(finding.level), Text(fitting(area, page.console.encoding), "bold"), _sentences(finding, page)
        )
        before = finding.area
    return table


def _sentences(finding: Finding, page: _Page) -> Group:
    advice = finding.advice(page.m)
    lines = [page.text(finding.message(page.m), "" if finding.level == "ok" else _STYLES[finding.level])]
    if advice is not None:
        lines.append(page.text(advice, "dim" if finding.level == "ok" else ""))
    return Group(*lines)


def _sum(diagnosis: Diagnosis, page: _Page) -> Text:
    m = page.m
    problems, warnings = diagnosis.count("problem"), diagnosis.count("warning")
    text = m("problems", n=problems) + ", " + m("warnings", n=warnings)
    tried = sum(trial.outcome in ("metered", "free") for trial in diagnosis.trials)
    if tried:
        text = m("tried", n=tried) + ", " + text
    return page.text(text + ".", f"bold {_STYLES[diagnosis.level]}")
