"""``openai-meter run --budget``: calls are stopped, also in the processes below, and the summary has their number."""

from __future__ import annotations

import json

import pytest
from programs import ENVIRONMENT, RUN, execute

from openai_meter.testing.fake_api.server import DemoServer

ANSWERED, REFUSED = "answered", "BudgetExceededError"


@pytest.fixture
def server():
    """The local stand-in for the OpenAI API."""
    with DemoServer() as server:
        yield server


def run(server, options, *program, env=None):
    """The answers of the program, and what was written to standard error."""
    command = [*RUN, *options, "asks_on.py", server.base_url, *program]
    code, output, errors = execute(command, env={**ENVIRONMENT, **(env or {})})
    assert code == 0, errors.decode()
    return output.decode().split(), errors.decode()


def test_run_with_budget_refuses_calls_and_counts_them(server):
    """A call that does not fit is refused; each budget that refuses has a line in the summary."""
    answers, errors = run(
        server, ["-q", "--host", "127.0.0.1", "--budget", "2calls/total", "--budget", "500/total"], "5"
    )
    assert answers == [ANSWERED] * 2 + [REFUSED] * 3
    assert "refused by budget 2calls/total, and not sent: 3 calls" in errors
    assert "500usd" not in errors


def test_run_with_budget_by_variable_and_in_json(server, tmp_path):
    """The variable has the same form; a run in which every call was refused has a summary, with the number in JSON."""
    path = tmp_path / "summary.json"
    answers, _ = run(server, ["--json", "-o", str(path)], "2", env={"OPENAI_METER_BUDGET": "0/total"})
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert answers == [REFUSED] * 2
    assert (summary["refused"], summary["totals"]["calls"]) == ({"0usd/total": 2}, 0)


def test_run_in_french_writes_refusals_in_french(server):
    """The line is in the language of the summary."""
    _, errors = run(server, ["-q", "--lang", "fr", "--budget", "0calls/total"], "1")
    assert "refusé par le budget 0calls/total, et pas envoyé\N{NO-BREAK SPACE}: 1 appel" in errors


def test_processes_of_run_share_budget_of_store(server, tmp_path):
    """With a store, all processes have one budget, and the refusals of all of them are counted."""
    options = ["-q", "--budget", "2calls/total", "--budget-store", f"sqlite:///{tmp_path / 'budgets.db'}"]
    answers, errors = run(server, options, "1", "process", "process")
    assert answers == [ANSWERED, ANSWERED, REFUSED, REFUSED, REFUSED]
    assert "refused by budget 2calls/total, and not sent: 3 calls" in errors


def test_processes_of_run_without_store_have_their_own_budgets(server):
    """Without a store, a new process begins at zero, and a forked one with the sums of its parent."""
    answers, errors = run(server, ["-q", "--budget", "1calls/total"], "2", "process", "fork")
    assert answers == [ANSWERED, REFUSED, ANSWERED, REFUSED, REFUSED]
    assert "refused by budget 1calls/total, and not sent: 3 calls" in errors


def test_exec_of_run_keeps_its_refusals(server, tmp_path):
    """A program that replaces itself continues with the shared budget; earlier refusals are in the summary."""
    options = ["-q", "--budget", "1calls/total", "--budget-store", f"sqlite:///{tmp_path / 'budgets.db'}"]
    answers, errors = run(server, options, "2", "exec")
    assert answers == [ANSWERED, REFUSED, REFUSED, REFUSED]
    assert "refused by budget 1calls/total, and not sent: 3 calls" in errors


@pytest.mark.parametrize(
    ("options", "variables", "part"),
    [
        (["--budget", "much"], {}, "AMOUNT[usd|tokens|calls]/PERIOD[/PER]"),
        (["--budget", "5/day", "--budget-store", "cloud://here"], {}, "there is no budget store"),
        ([], {"OPENAI_METER_BUDGET": "5/fortnight"}, "OPENAI_METER_BUDGET: '5/fortnight' is not a budget"),
    ],
)
def test_run_with_unusable_budget_does_not_start(options, variables, part):
    """The error comes before the program runs, and names the remedy."""
    code, output, errors = execute([*RUN, *options, "show.py"], env={**ENVIRONMENT, "COLUMNS": "1000", **variables})
    assert (code, output) == (2, b"")
    assert part in errors.decode()
