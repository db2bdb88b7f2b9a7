"""The command ``reconcile``, over HTTP against a stand-in for the organization's endpoints."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the command reconcile is NOT tested")
pytest.importorskip("openai.resources.admin", reason="this openai has no admin API: reading it is NOT tested")

from organization import Charged, Organization, Used, add_call, bill_calls, error_answer, serve

from openai_meter import Call, Ledger, PriceBook, Usage
from openai_meter.cli import main
from openai_meter.core.call import new_call_id

BOOK = PriceBook()
Run = Callable[..., "Done"]


def make_call(day: int, **changes: Any) -> Call:
    """A call at noon on a day of October 2026."""
    at = datetime(2026, 10, day, 12, tzinfo=UTC)
    values: dict[str, Any] = {
        "id": new_call_id(at.timestamp()), "started_at": at, "duration": 1.0, "endpoint": "responses",
        "provider": "openai", "model": "gpt-5.1", "requested_model": "gpt-5.1", "status": "ok",
        "usage": Usage(90_000, 9_000, 99_000), "usage_source": "api", "host": "api.openai.com",
    }  # fmt: skip
    call = Call(**(values | changes))
    return call.charged(BOOK.cost(BOOK.billable_of(call)), None)


@pytest.fixture(scope="module")
def calls() -> list[Call]:
    return [make_call(day) for day in (1, 2, 3, 31)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, calls: list[Call]) -> Path:
    """A database with the calls."""
    file = tmp_path_factory.mktemp("ledger") / "usage.db"
    ledger = Ledger(f"sqlite:///{file}")
    ledger.import_calls(calls)
    ledger.close()
    return file


@pytest.fixture
def ledger_url(stored: Path, tmp_path: Path) -> str:
    """A ledger of each test's own: what it keeps is not there in another one."""
    return f"sqlite:///{shutil.copy(stored, tmp_path / 'usage.db')}"


class Done(NamedTuple):
    """What a command has done."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(ledger_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process."""

    def command(*args: str, base_url: str = "http://127.0.0.1:9/v1", key: str = "sk-admin-secret") -> Done:
        monkeypatch.setattr(sys, "argv", ["openai-meter", "reconcile", *args])
        for name, value in (
            ("OPENAI_ADMIN_KEY", key), ("OPENAI_BASE_URL", base_url), ("OPENAI_METER_LEDGER", ledger_url),
            ("COLUMNS", "100"),
        ):  # fmt: skip
            monkeypatch.setenv(name, value)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        return Done(code, *capsys.readouterr())

    return command


def organization_of(calls: list[Call]) -> Organization:
    """What was billed: the calls, those of a colleague, and storage."""
    organization = bill_calls(calls)
    for call in calls[:2]:
        add_call(organization, replace(call, model="gpt-5-mini"), BOOK, key="key_colleague")
    organization.charged.append(
        Charged(date(2026, 10, 4), "vector storage", Fraction(1, 2), Fraction(9), "gibibyte_hours")
    )
    return organization


def test_reconcile_command_names_causes_and_coverage(run: Run, calls: list[Call]) -> None:
    """The page has both sums, the coverage, and each cause with its evidence; no key is written."""
    with serve(organization_of(calls)) as url:
        done = run("2026-10", base_url=url)
    assert done.returncode == 0, done.stderr
    assert "2026-10-01 to 2026-10-31 (UTC)" in done.stdout
    assert "Storage" in done.stdout
    assert "2 requests with the key key_colleague, of which the ledger has none" in " ".join(done.stdout.split())
    assert "sk-admin" not in done.stdout + done.stderr


def test_reconcile_command_writes_json(run: Run, calls: list[Call]) -> None:
    """``--json`` has the sums, the causes and the groups as plain values, and amounts as texts."""
    with serve(organization_of(calls)) as url:
        done = run("2026-10", "--json", "--by", "day", base_url=url)
    data = json.loads(done.stdout)
    assert {cause["kind"] for cause in data["by_cause"]} == {"another_key", "storage"}
    assert [group["day"] for group in data["by"]] == [
        "2026-10-01",
        "2026-10-02",
        "2026-10-03",
        "2026-10-04",
        "2026-10-31",
    ]


@pytest.mark.parametrize(("part", "code"), [("0.5", 0), ("0.99", 1), ("99%", 1)])
def test_reconcile_command_fails_under_a_coverage(run: Run, calls: list[Call], part: str, code: int) -> None:
    """The exit code is 1 where the coverage is below the part that is asked for."""
    with serve(organization_of(calls)) as url:
        done = run("2026-10", "--fail-under", part, base_url=url)
    assert done.returncode == code
    assert ("The coverage is" in done.stderr) == bool(code)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["2026-10", "--by", "agent"], "use day, project, model, line_item"),
        (["2026-10", "--fail-under", "2"], "it has to be from 0 to 1"),
        (["october"], "period='october' is not a time"),
        (["2099-01"], "has not begun"),
    ],
)
def test_reconcile_command_with_wrong_arguments_exits_with_2(run: Run, args: list[str], expected: str) -> None:
    """The message has the valid values; no request is sent to the API."""
    done = run(*args)
    assert done.returncode == 2
    assert expected in " ".join(done.stderr.split())


def test_reconcile_command_without_a_key_exits_with_2(run: Run) -> None:
    """The sentence names the variable, and the way without a key."""
    done = run("2026-10", key="")
    assert done.returncode == 2
    assert "set OPENAI_ADMIN_KEY" in done.stderr


def test_reconcile_command_key_without_permission_names_it(run: Run) -> None:
    """The message for a key that may not read the usage has the missing permission."""
    refuse = error_answer(403, "You have insufficient permissions. Missing scopes: api.usage.read.")
    with serve(Organization(), lambda _kind, _number: refuse) as url:
        done = run("2026-10", base_url=url)
    assert done.returncode == 1
    assert "the permission api.usage.read is missing" in done.stderr


def test_reconcile_command_with_an_older_sdk_names_the_package(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of openai whose client takes no admin key ends the command with what to install."""

    def old_client(*, api_key: str | None = None) -> None:
        raise AssertionError(api_key)

    monkeypatch.setattr("openai.OpenAI", old_client)
    done = run("2026-10")
    assert done.returncode == 1
    assert "has no admin API; install a newer one" in done.stderr


def test_import_command_keeps_exports_for_reconcile(
    run: Run, calls: list[Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """After ``import openai-usage`` the command needs neither a key nor files."""
    organization = organization_of(calls)
    usage, costs = tmp_path / "usage.csv", tmp_path / "costs.csv"
    write_usage(usage, organization.used)
    write_costs(costs, organization.charged)
    given = json.loads(run("2026-10", "--json", "--usage", str(usage), "--costs", str(costs), key="").stdout)
    monkeypatch.setattr(sys, "argv", ["openai-meter", "import", "openai-usage", str(usage), str(costs)])
    main()
    assert "rows of usage and costs, 2026-10-01..2026-10-31" in capsys.readouterr().out
    kept = json.loads(run("2026-10", "--json", key="").stdout)
    assert {name: kept[name] for name in ("billed", "by_cause")} == {
        name: given[name] for name in ("billed", "by_cause")
    }


def test_reconcile_command_in_french_is_french(run: Run, calls: list[Call]) -> None:
    """Heads, causes and numbers are those of the language."""
    with serve(organization_of(calls)) as url:
        done = run("2026-10", "--lang", "fr", base_url=url)
    assert done.returncode == 0, done.stderr
    for words in ("Du 2026-10-01 au 2026-10-31", "Facturé", "Stockage", "Autre clé"):
        assert words in done.stdout


def test_reconcile_command_reads_exports_in_place_of_a_key(run: Run, calls: list[Call], tmp_path: Path) -> None:
    """Exports of the usage page and the costs page, as CSV, give the same figures as the API."""
    organization = organization_of(calls)
    usage, costs = tmp_path / "usage.csv", tmp_path / "costs.csv"
    write_usage(usage, organization.used)
    write_costs(costs, organization.charged)
    with serve(organization) as url:
        asked = json.loads(run("2026-10", "--json", base_url=url).stdout)
    done = run("2026-10", "--json", "--usage", str(usage), "--costs", str(costs), key="")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    for name in ("billed", "metered", "coverage", "token_coverage", "by_cause"):
        assert read[name] == asked[name], name


def write_usage(path: Path, used: list[Used]) -> None:
    """A file as the usage page exports it."""
    with path.open("w", newline="") as file:
        heads = ["start_time", "end_time", "start_time_iso", "project_id", "num_model_requests", "api_key_id", "model"]
        counts = ["input_tokens", "output_tokens", "input_cached_tokens"]
        writer = csv.writer(file)
        writer.writerow([*heads, "batch", "service_tier", *counts])
        for row in used:
            start = int(row.at.replace(hour=0).timestamp())
            numbers = [row.counts.get(name, "") for name in counts]
            writer.writerow([
                start, start + 86_400, "", row.project, row.requests, row.key, row.model, row.batch, row.tier, *numbers
            ])  # fmt: skip


def write_costs(path: Path, charged: list[Charged]) -> None:
    """A file as the costs page exports it."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([
            "start_time", "end_time", "amount_value", "amount_currency", "line_item", "project_id", "api_key_id",
            "quantity", "quantity_unit",
        ])  # fmt: skip
        for row in charged:
            start = int(datetime(row.day.year, row.day.month, row.day.day, tzinfo=UTC).timestamp())
            writer.writerow([
                start, start + 86_400, float(row.usd), "usd", row.line_item, row.project, row.key,
                "" if row.quantity is None else float(row.quantity), row.unit,
            ])  # fmt: skip
