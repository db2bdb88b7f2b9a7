"""``openai-meter forecast``, ``compare``, ``reprice`` and ``prune``: what people type, and what comes out."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from openai_meter import Call, Usage
from openai_meter.core.call import new_call_id
from openai_meter.ledger import Ledger

Run = Callable[..., str]
NOW = datetime.now(UTC)
DOLLAR = 10**12
CALL = Call(
    "", NOW, 0.5, "responses", "openai", "gpt-4o-mini", "gpt-4o-mini", "ok", Usage(100, 50, 150), "api",
    cost_pico=DOLLAR, cost_status="priced",
)  # fmt: skip


def call(ago: float = 0, **changes: Any) -> Call:
    """A call that began so many days ago."""
    return replace(CALL, id=new_call_id(), started_at=NOW - timedelta(days=ago), **changes)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/usage.db"


@pytest.fixture
def run(url: str, command: Run) -> Run:
    """Runs a command with a ledger, in this process; what it wrote."""
    return lambda *args, code=0: command(*args, "--ledger", url, code=code)


def put(url: str, *calls: Call) -> None:
    ledger = Ledger(url)
    ledger.import_calls(calls)
    ledger.close()


def kept(url: str) -> tuple[int, int]:
    """The calls that there are, and those that are counted."""
    ledger = Ledger(url)
    try:
        return len(list(ledger.calls())), ledger.totals().calls
    finally:
        ledger.close()


class Person(io.StringIO):
    """Somebody at a terminal."""

    def isatty(self) -> bool:
        return True


# --- forecast ---------------------------------------------------------------------------------------------------------


def test_forecast_shows_spent_expected_and_range(url: str, run: Run) -> None:
    """In both languages."""
    put(url, *(call(ago) for ago in range(11)), call(0, cost_pico=None, cost_status="unpriced"))
    lines = run("forecast").splitlines()
    assert re.fullmatch(r"This month, \d{4}-\d\d-01 \.\. \d{4}-\d\d-\d\d \(UTC\)", lines[0])
    assert re.fullmatch(r"  Spent so far +\$\S+", lines[1])
    assert re.fullmatch(r"  Expected at the end +\$\S+", lines[2])
    assert re.fullmatch(r"  Range +\$\S+ \.\. \$\S+ \(four times out of five\)", lines[3])
    assert lines[4:] == ["Based on 10 days.", "1 call has no full price: the cost will be higher."]
    assert run("forecast", "day", "--lang", "fr").startswith("Aujourd'hui, ")
    assert run("forecast", "week", "--timezone", "Europe/Paris").splitlines()[0].endswith("(Europe/Paris)")


def test_forecast_as_json_equals_the_value(url: str, run: Run) -> None:
    """Filters select its calls."""
    put(url, *(call(ago, agent="a" if ago % 2 else "b") for ago in range(1, 9)))
    data = json.loads(run("forecast", "week", "--json"))
    assert (data["period"], data["days"]) == ("week", 8)
    less = json.loads(run("forecast", "week", "--json", "--agent", "b"))
    assert float(less["expected"]) < float(data["expected"])


def test_forecast_without_a_whole_day_is_unknown(url: str, run: Run) -> None:
    """It is not 0."""
    put(url, call(0))
    assert run("forecast").splitlines()[2:] == [
        "  Expected at the end      ?",
        "There is not yet a whole day of history to base it on.",
    ]


# --- compare ----------------------------------------------------------------------------------------------------------


def test_comparison_shows_both_sides_and_the_causes(url: str, run: Run) -> None:
    """Both sides, the difference, and its causes, model by model."""
    put(
        url,
        *(call(1, tags={"prompt": "v1"}) for _ in range(2)),
        *(call(1, tags={"prompt": "v2"}, usage=Usage(200, 100, 300), cost_pico=2 * DOLLAR) for _ in range(3)),
        call(1, tags={"prompt": "v2"}, model="o3", cost_pico=None, cost_status="unpriced"),
    )
    lines = [line.rstrip() for line in run("compare", "tag:prompt=v1", "tag:prompt=v2").splitlines()]
    assert lines[0].split() == ["tag:prompt=v1", "tag:prompt=v2", "Difference"]
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["Calls"][1:] == ["2", "4", "+2", "(+100%)"]
    assert rows["Cost"][1:] == ["$2.00", "$6.00", "+$4.00", "(+200%)"]
    assert rows["gpt-4o-mini"][1:] == ["+$1.00", "-", "+$3.00", "-", "+$4.00"]
    assert rows["Total"][1:] == ["+$1.00", "-", "+$3.00", "-", "+$4.00"]
    assert "1 call has no full price: its cost is not included." in lines
    assert "D'où vient la différence" in run("compare", "tag:prompt=v1", "tag:prompt=v2", "--lang", "fr")


def test_comparison_as_json_equals_the_value(url: str, run: Run) -> None:
    """A side with fewer calls costs less."""
    put(url, call(0), call(1), call(1))
    data = json.loads(run("compare", "yesterday", "today", "--json"))
    assert (data["difference"], data["causes"]["volume"]) == ("-1", "-1")
    assert "-$1.00 (-50%)" in run("compare", "yesterday", "today")


def test_names_in_a_comparison_are_escaped(url: str, run: Run) -> None:
    """Neither the parts nor the models are markup or terminal sequences."""
    put(url, call(0, model="[red]m\x1b[2J", agent="[b]x"), call(0, agent="y"))
    shown = run("compare", "agent=[b]x", "agent=y")
    assert "agent=[b]x" in shown
    assert "[red]m�[2J" in shown
    assert "\x1b" not in shown


# --- reprice ----------------------------------------------------------------------------------------------------------


def test_reprice_command_prices_and_lists_the_rest(url: str, run: Run, tmp_path: Path) -> None:
    """Calls without a price get one, from the published prices or from a file; those without one are listed."""
    unpriced: dict[str, Any] = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "no price"}
    put(url, call(1, **unpriced), call(1, model="my-own", **unpriced), call(1))
    assert run("reprice").splitlines() == [
        "1 call has a full price now.",
        "1 call still has none.",
        "No price for my-own: 1 call, 150 tokens (unknown model).",
    ]
    file = tmp_path / "prices.toml"
    assert "prices.toml" in run("reprice", "--prices", str(file), code=2)
    file.write_text(
        '[[price]]\nmodels = ["my-own"]\ninput = 1\noutput = 2\nsource = "us"\nchecked = 2026-01-01\n', encoding="utf-8"
    )
    assert json.loads(run("reprice", "--since", "2d", "--json", "--prices", str(file))) == {
        "repriced": 1,
        "unpriced_calls": 0,
    }


# --- prune ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["y", "yes", "O", "oui "])
def test_prune_with_a_yes_removes_details_and_no_sum(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Who agrees loses the details, and no sum."""
    put(url, call(0), call(50), call(60))
    monkeypatch.setattr(sys, "stdin", Person(f"{answer}\n"))
    assert run("prune", "30d").startswith("The details of 2 calls before ")
    assert kept(url) == (1, 3)


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "maybe\n"])
def test_prune_without_a_yes_removes_nothing(url: str, run: Run, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """Any answer but yes is a no, also the end of the input."""
    put(url, call(50))
    monkeypatch.setattr(sys, "stdin", Person(answer))
    message = run("prune", "30d", code=1)
    assert message.startswith("Delete the details of 1 call before ")
    assert message.endswith("Nothing was deleted.\n")
    assert kept(url) == (1, 1)


def test_prune_without_a_terminal_needs_the_option_yes(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same applies to JSON."""
    put(url, call(50))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert "add --yes" in run("prune", "30d", code=2)
    monkeypatch.setattr(sys, "stdin", Person("y\n"))
    assert "add --yes" in run("prune", "30d", "--json", code=2)
    assert kept(url) == (1, 1)
    day = (NOW - timedelta(days=29)).strftime("%Y-%m-%d")
    assert json.loads(run("prune", "30d", "--json", "--yes")) == {"pruned": 1, "before": day}
    assert kept(url) == (0, 1)
    assert run("prune", "30d") == f"There are no details of calls before {day} (UTC).\n"


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("forecast", "year"), "day, week or month"), (("forecast", "--timezone", "Mars"), "Mars"),
        (("compare", "2026-10", "tomorrowish"), "not a time"), (("prune", "some day"), "not a time"),
        (("reprice", "--since", "soon"), "not a time"), (("forecast", "--lang", "klingon"), "klingon"),
    ],
)  # fmt: skip
def test_unusable_maintenance_arguments_exit_with_2(url: str, run: Run, args: tuple[str, ...], message: str) -> None:
    """Exit code 2, and a sentence."""
    put(url, call(0))
    assert message in run(*args, code=2)


@pytest.mark.parametrize("args", [("forecast",), ("compare", "7d", "today"), ("reprice",), ("prune", "7d", "--yes")])
def test_maintenance_of_a_missing_ledger_exits_with_1(run: Run, tmp_path: Path, args: tuple[str, ...]) -> None:
    """No file is made."""
    assert "there is no ledger" in run(*args, code=1)
    assert list(tmp_path.iterdir()) == []


# --- models beside the days -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "args", "named"),
    [(140, (), True), (100, ("--by", "week"), True), (99, (), False), (140, ("--compact",), False),
     (140, ("--by", "day,agent"), False), (140, ("--breakdown",), False), (140, ("--json",), False)],
)  # fmt: skip
def test_report_on_a_wide_terminal_names_the_models(
    url: str, run: Run, monkeypatch: pytest.MonkeyPatch, width: int, args: tuple[str, ...], named: bool
) -> None:
    """Reports by day, week or month list the models of each row, the most expensive first."""
    put(url, *(call(0, model=f"m{n}", cost_pico=n * DOLLAR) for n in range(5)))
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = re.sub(r"\x1b\[[\d;]*m", "", run("report", *args))
    assert ("Models" in shown) is named
    assert ("m4, m3, m2, +2" in shown) is named
    if named:
        assert next(line for line in shown.splitlines() if "m4" in line).split()[-1] == "$10.00"
        assert next(line for line in shown.splitlines() if "Total" in line and "$" in line).split()[-1] == "$10.00"
