"""Limits on the command line: ``check`` and ``report --limit`` have an exit code that a shell can use."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: limits of a ledger are NOT tested")

from openai_meter import Call, Usage
from openai_meter.core.call import new_call_id
from openai_meter.ledger import Ledger

CALL = Call(
    "", datetime.now(UTC), 0.5, "responses", "openai", "gpt-4o-mini", "gpt-4o-mini", "ok", Usage(100, 50, 150), "api",
    cost_pico=10**12, cost_status="priced", user="u1",
)  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/usage.db"


def fill(url: str, *calls: Call) -> None:
    ledger = Ledger(url)
    ledger.import_calls([replace(call, id=new_call_id()) for call in calls])
    ledger.close()


def test_check_with_kept_limits_exits_with_0(invoke: Callable[..., Any], url: str) -> None:
    """A line for each limit shows how much of it is used."""
    fill(url, CALL, CALL)
    result = invoke("check", "--ledger", url, "--limit", "cost=50/month", "--limit", "calls=1000")
    assert result == (0, "cost this month: $2.00 of $50.00 (4%)\ncalls today: 2 of 1,000 (0%)\n", "")


def test_check_with_an_exceeded_limit_exits_with_3(invoke: Callable[..., Any], url: str) -> None:
    """The line of the limit shows it; a limit that is kept does not change the exit code."""
    fill(url, CALL, CALL)
    result = invoke("check", "--ledger", url, "--limit", "cost=1.5/day/user", "--limit", "tokens=9000")
    assert result == (
        3, "cost per user (u1) today: $2.00 of $1.50 (133%), exceeded\ntokens today: 300 of 9,000 (3%)\n", "",
    )  # fmt: skip


def test_unknown_costs_exceed_a_limit_only_with_strict(invoke: Callable[..., Any], url: str) -> None:
    """A sum with calls of unknown cost may be higher: the line shows that, and --strict makes it an error."""
    fill(url, CALL, replace(CALL, cost_pico=None, cost_status="unpriced"))
    line = "cost today: $1.00+ of $5.00 (20%), or more: there are calls of unknown cost or size\n"
    assert invoke("check", "--ledger", url, "--limit", "cost=5") == (0, line, "")
    assert invoke("check", "--ledger", url, "--limit", "cost=5", "--strict") == (3, line, "")
    assert invoke("check", "--ledger", url, "--limit", "calls=5", "--strict").code == 0


def test_cost_without_any_price_is_shown_as_unknown(invoke: Callable[..., Any], url: str) -> None:
    """Where no call has a price, the used amount is not shown as zero."""
    fill(url, replace(CALL, cost_pico=None, cost_status="unpriced"))
    assert invoke("check", "--ledger", url, "--limit", "cost=5").out.startswith("cost today: ? of $5.00")


def test_check_as_json_has_each_limit_and_its_window(invoke: Callable[..., Any], url: str) -> None:
    """JSON has the use of each limit, its timezone and the end of its window, and whether one is exceeded."""
    fill(url, CALL)
    result = invoke(
        "check", "--ledger", url, "--limit", "cost=0.5/month", "--timezone", "Europe/Paris", "--json"
    )  # fmt: skip
    data = json.loads(result.out)
    (limit,) = data["limits"]
    assert (result.code, data["exceeded"]) == (3, True)
    assert (limit["used"], limit["limit"], limit["timezone"]) == ("1", "0.5", "Europe/Paris")
    assert datetime.fromisoformat(limit["resets_at"]) > datetime.now(UTC)


def test_check_in_french_has_french_lines(invoke: Callable[..., Any], url: str) -> None:
    """Names, amounts and sentences are those of the language."""
    fill(url, CALL, CALL)
    result = invoke("check", "--ledger", url, "--limit", "cost=1.25/month", "--lang", "fr")
    assert result.out == "coût ce mois-ci\xa0: 2,00\xa0$ sur 1,25\xa0$ (160\xa0%), limite dépassée\n"


def test_report_with_limits_writes_them_to_standard_error(invoke: Callable[..., Any], url: str) -> None:
    """The report on standard output is unchanged; the limits set the exit code."""
    fill(url, CALL, CALL)
    plain = invoke("report", "--ledger", url, "--by", "model", "--csv")
    kept = invoke("report", "--ledger", url, "--by", "model", "--csv", "--limit", "calls=5")
    assert kept == (0, plain.out, "openai-meter: calls today: 2 of 5 (40%)\n")
    passed = invoke("report", "--ledger", url, "--by", "model", "--limit", "cost=1.25/week")
    assert passed.code == 3
    assert passed.err == "openai-meter: cost this week: $2.00 of $1.25 (160%), exceeded\n"


@pytest.mark.parametrize("command", ["check", "report", "serve", "top"])
@pytest.mark.parametrize(
    ("limit", "message"),
    [("cost", "'cost' is not a limit; write METRIC=NUMBER/PERIOD/PER"), ("cost=5/year", "PERIOD: minute, hour, day")],
)
def test_wrong_limits_exit_with_2(invoke: Callable[..., Any], url: str, command: str, limit: str, message: str) -> None:
    """A limit that cannot be read is an error of the command line, with the form of a limit."""
    result = invoke(command, "--ledger", url, "--limit", limit)
    assert (result.code, message in result.err) == (2, True)


def test_check_without_a_ledger_or_a_limit_is_an_error(invoke: Callable[..., Any], url: str) -> None:
    """A missing ledger does not keep its limits: the exit code is 1. A limit has to be given."""
    assert invoke("check", "--ledger", url, "--limit", "cost=5").code == 1
    assert invoke("check", "--limit", "cost=5").code == 2
    assert invoke("check", "--ledger", url).code == 2
