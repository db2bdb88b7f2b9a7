"""``openai-meter report``, ``export`` and ``import``: what people type, and what comes out."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
from ledger_calls import NOON, call, days
from programs import ENVIRONMENT, PYTHON, execute

from openai_meter import Call, TokenTracker, Usage
from openai_meter.errors import ConfigurationError
from openai_meter.ledger import Ledger, exports, imports
from openai_meter.ledger.exports import COLUMNS, FORMS
from openai_meter.pricing import Price, PriceBook

Run = Callable[..., str]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/usage.db"


@pytest.fixture
def run(url: str, command: Run) -> Run:
    """Runs a command with a ledger, in this process; what it wrote."""
    return lambda *args, code=0, ledger=url: command(*args, "--ledger", ledger, code=code)


def put(url: str, *calls: Call) -> None:
    ledger = Ledger(url)
    ledger.import_calls(calls)
    ledger.close()


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip("─ ")]


SPAN = ("--since", "2026-03-04", "--until", "2026-03-31")


# --- report -----------------------------------------------------------------------------------------------------------


def test_report_by_day_prints_a_table(url: str, run: Run) -> None:
    """Days stand below each other, with the sum at the end, and the span in the title."""
    put(url, *days(2, agent="planner"), call())
    assert lines(run("report", *SPAN)) == [
        "OpenAI usage: 2026-03-04 .. 2026-03-31 (UTC)",
        "Day          Calls   Input   Output   Total        Cost",
        "2026-03-04       2     200      100     300   $0.000090",
        "2026-03-05       1     100       50     150   $0.000045",
        "Total            3     300      150     450   $0.000135",
    ]


def test_report_without_dates_covers_thirty_days(url: str, run: Run) -> None:
    """Without dates, the report has the thirty days up to today; months go back a year, weeks twelve weeks."""
    today = datetime.now(UTC)
    put(url, *(call(today - timedelta(days=ago), cost_pico=10**12) for ago in (0, 29, 30, 83, 100, 400)))
    assert json.loads(run("report", "--json"))["totals"]["calls"] == 2
    assert json.loads(run("report", "--json", "--by", "month"))["totals"]["calls"] == 5
    weeks = json.loads(run("report", "--json", "--by", "week"))
    assert weeks["totals"]["calls"] in {3, 4}
    assert datetime.fromisoformat(weeks["since"]).weekday() == 0


def test_breakdown_lists_models_below_each_row(url: str, run: Run) -> None:
    """With a breakdown each day has its sum, and its models below it; as CSV, each row is one of both."""
    put(url, *days(1, model="o3", cost_pico=10**12), *days(1, model="o4", cost_pico=None, cost_status="unpriced"))
    assert lines(run("report", "--breakdown", *SPAN))[2:5] == [
        "2026-03-04       2     200      100     300   $1.00+",
        "  └─ o3          1     100       50     150   $1.00",
        "  └─ o4          1     100       50     150       ?",
    ]
    table = list(csv.DictReader(io.StringIO(run("report", "--breakdown", "--csv", *SPAN))))
    assert [(row["day"], row["model"], row["cost"]) for row in table] == [
        ("2026-03-04", "o3", "1"), ("2026-03-04", "o4", ""),
    ]  # fmt: skip
    assert "└─" not in run("report", "--by", "model", "--breakdown", *SPAN)


def test_snapshots_are_folded_into_their_model(url: str, run: Run) -> None:
    """With ``--fold-snapshots`` a model and its dated snapshots are one row, in every form of the report."""
    put(url, *days(1), *days(1, model="gpt-4o-mini"), *days(1, model="o3"))
    plain = csv.DictReader(io.StringIO(run("report", "--by", "model", "--csv", *SPAN)))
    folded = csv.DictReader(io.StringIO(run("report", "--by", "model", "--csv", "--fold-snapshots", *SPAN)))
    assert sorted(row["model"] for row in plain) == ["gpt-4o-mini", "gpt-4o-mini-2024-07-18", "o3"]
    assert {row["model"]: row["calls"] for row in folded} == {"gpt-4o-mini": "2", "o3": "1"}


def test_compact_report_has_calls_tokens_and_cost(url: str, run: Run) -> None:
    """Compact is calls, tokens and cost."""
    put(url, *days(1, usage=Usage(100, 50, 150, cached_input_tokens=50), status="error"))
    assert lines(run("report", "--compact", *SPAN))[2] == "Day          Calls   Total         Cost"


def test_report_options_filter_and_set_timezone(url: str, run: Run) -> None:
    """Every dimension is a filter, and days are those of a timezone."""
    put(url, *days(3, agent="a", tags={"env": "prod"}), *days(2, agent="b", session="s"))

    def calls(*args: str) -> list[Any]:
        report = json.loads(run("report", "--json", *SPAN, *args))
        return [[row["day"], row["calls"]] for row in report["rows"]]

    assert calls("--agent", "a", "--tag", "env=prod") == [["2026-03-04", 1], ["2026-03-05", 1], ["2026-03-06", 1]]
    assert calls("--agent", "a", "--agent", "b", "--until", "2026-03-04") == [["2026-03-04", 2]]
    assert calls("--session", "s", "--timezone", "Pacific/Auckland") == [["2026-03-05", 1], ["2026-03-06", 1]]
    assert calls("--model", "gpt-4o-mini", "--provider", "openai", "--user", "(unattributed)")[0] == ["2026-03-04", 2]
    assert calls("--endpoint", "embeddings") == []


def test_chart_draws_bars_by_cost(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar is as long as its part of the largest; a small cost is visible, and an unknown one is marked."""
    monkeypatch.setenv("COLUMNS", "40")
    costs = (8 * 10**12, 4 * 10**12, 1, None)
    put(url, *(
        replace(one, cost_pico=cost, cost_status="priced" if cost else "unpriced")
        for one, cost in zip(days(4), costs, strict=True)
    ))  # fmt: skip
    assert lines(run("report", "--chart", *SPAN)) == [
        "OpenAI usage: 2026-03-04 .. 2026-03-31 (UTC)",
        "2026-03-04  ██████ $8.00".replace("██████", "█" * 10),
        "2026-03-05  █████ $4.00",
        "2026-03-06  ▏ $0.00000000000100",
        "2026-03-07  ?",
        "Total: $12.00+",
    ]
    unpriced = lines(run("report", "--chart", "--since", "2026-03-07", "--until", "2026-03-07"))
    assert unpriced[1].endswith("█ 150")


def test_report_in_french_has_french_text(url: str, run: Run) -> None:
    """A report speaks the language that is asked for."""
    put(url, *days(1))
    assert run("report", "--lang", "fr", *SPAN).splitlines()[1].startswith("Jour")


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (("report", "--by", "hours"), 2, "no totals by 'hours'"),
        (("report", "--since", "soon"), 2, "since='soon' is not a time"),
        (("report", "--timezone", "Mars"), 2, "is not known on this machine"),
        (("report", "--format", "pdf"), 2, "is not a form of report"),
        (("report", "--lang", "xx"), 2, "is not a language"),
        (("report", "--tag", "env"), 2, "write NAME=VALUE"),
        (("export", "--format", "xml"), 2, "use one of csv, jsonl, parquet, litellm"),
        (("export", "-o", "."), 2, "is a folder"),
        (("import", "nowhere.jsonl"), 2, "cannot be read"),
    ],
)
def test_wrong_arguments_exit_with_a_sentence(url: str, run: Run, args: tuple[str, ...], code: int, why: str) -> None:
    """The exit code is 2."""
    put(url, *days(1))
    assert why in run(*args, code=code)


def test_missing_ledger_exits_with_a_sentence(
    url: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a ledger, or with a file that is missing, the sentence names the remedy, and no file is made."""
    assert "name the ledger: --ledger sqlite:///usage.db" in run("report", code=2, ledger="")
    assert "there is no ledger" in run("report", code=1)
    assert "write 'sqlite:///usage.db'" in run("report", code=2, ledger="usage.db")
    assert list(tmp_path.iterdir()) == []
    put(url, *days(1))
    monkeypatch.setenv("OPENAI_METER_LEDGER", url)
    assert "2026-03-04" in run("report", *SPAN, ledger="")


def test_report_survives_a_closed_pipe(url: str) -> None:
    """The installed command works, and a reader that closes the pipe early causes no error."""
    put(url, *days(3))
    env = {**ENVIRONMENT, "OPENAI_METER_LEDGER": url}
    code, out, err = execute([*PYTHON, "-m", "openai_meter", "report", *SPAN], env=env)
    assert (code, err) == (0, b"")
    assert b"2026-03-06" in out
    with open(os.devnull) as nobody, subprocess.Popen(
        [*PYTHON, "-m", "openai_meter", "export", "--ledger", url],
        env=env, stdin=nobody, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


# --- export -----------------------------------------------------------------------------------------------------------

ODD = call(
    agent="=1+1", user="a\nb", tags={"env": "pröd"}, cost_pico=Fraction(10**7, 3), usage_unknown=("reasoning", "files"),
    usage=Usage(10, 5, 15, cached_input_tokens=4, seconds=1.5), response_id="resp-1", session="s", stream=True,
)  # fmt: skip
BARE = call(NOON + timedelta(seconds=1), model=None, usage=Usage(), cost_pico=None, cost_status="unpriced")


def exported(form: str, *calls: Call) -> bytes:
    file = io.BytesIO()
    assert exports.export(iter(calls), form, file) == len(calls)
    return file.getvalue()


def test_csv_export_has_a_row_for_each_call() -> None:
    """Unknown values are empty, and no name is a formula."""
    odd, bare = csv.DictReader(io.StringIO(exported("csv", ODD, BARE).decode(), newline=""))
    assert tuple(odd) == COLUMNS
    assert (odd["agent"], odd["user"], odd["stream"]) == ("'=1+1", "a\ufffdb", "true")
    assert (odd["tags"], odd["usage_unknown"]) == ('{"env": "pröd"}', "reasoning; files")
    assert (odd["started_at"], odd["cost"][:12]) == ("2026-03-04T12:00:00+00:00", "0.0000033333")
    assert (bare["cost"], bare["model"], bare["input_tokens"], bare["cost_status"]) == ("", "", "", "unpriced")


def test_jsonl_export_is_imported_unchanged(tmp_path: Path) -> None:
    """Calls that are exported as JSON lines and read again are equal."""
    file = tmp_path / "calls.jsonl"
    file.write_bytes(exported("jsonl", BARE, *days(3)) + b"\n")
    again = list(imports.read(file, PriceBook()))
    assert again[0] == BARE
    assert len(again) == 4


def test_litellm_export_has_the_columns_of_its_spend_log() -> None:
    """Money is a number."""
    odd, bare = map(json.loads, exported("litellm", ODD, BARE).splitlines())
    assert (odd["request_id"], odd["call_type"], odd["status"]) == ("resp-1", "completion", "success")
    assert (odd["prompt_tokens"], odd["completion_tokens"], odd["total_tokens"]) == (10, 5, 15)
    assert odd["endTime"] == "2026-03-04T12:00:00.500000+00:00"
    assert (odd["request_tags"], odd["session_id"], odd["cache_read_input_tokens"]) == (["env:pröd"], "s", 4)
    assert (bare["spend"], bare["request_id"], odd["spend"]) == (None, BARE.id, float(Fraction(1, 300_000)))


def test_parquet_export_has_typed_columns() -> None:
    """Times in UTC, decimal money, tags as a map."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: this is NOT tested")
    table = parquet.read_table(io.BytesIO(exported("parquet", ODD, BARE)))
    odd, bare = table.to_pylist()
    assert tuple(table.column_names) == COLUMNS
    assert (odd["started_at"], odd["tags"], odd["usage_unknown"]) == (NOON, [("env", "pröd")], ["reasoning", "files"])
    assert odd["cost"] == Decimal("0.000003333333333333")
    assert (bare["cost"], bare["input_tokens"], bare["seconds"]) == (None, None, 0)


def test_parquet_without_pyarrow_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r'pip install "openai-meter\[parquet\]"'):
        exports.check("parquet")


@pytest.mark.parametrize("form", FORMS)
def test_export_file_is_complete_and_filtered(form: str, url: str, run: Run, tmp_path: Path) -> None:
    """The file appears when all is in it; filters apply to exports, too."""
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: this is NOT tested")
    put(url, *days(3), call(agent="x"))
    target = tmp_path / "folder" / f"calls.{form}"
    run("export", "--format", form, "-o", str(target), "--agent", "x")
    assert [one.name for one in target.parent.iterdir()] == [target.name]
    if form != "parquet":
        assert len(target.read_bytes().splitlines()) == 1 + (form == "csv")


def test_export_writes_to_standard_output(url: str) -> None:
    """Without a file, an export goes to standard output, for pipes."""
    put(url, *days(3))
    code, out, err = execute([*PYTHON, "-m", "openai_meter", "export", "--ledger", url])
    assert (code, err) == (0, b"")
    assert [Call.from_dict(json.loads(line)).started_at.day for line in out.splitlines()] == [4, 5, 6]


# --- import -----------------------------------------------------------------------------------------------------------


def test_repeated_import_stores_calls_once(url: str, run: Run, tmp_path: Path) -> None:
    """Calls that are imported again are not counted twice."""
    file = tmp_path / "calls.jsonl"
    file.write_bytes(exported("jsonl", *days(1_500)))
    assert run("import", str(file)) == f"{file}: 1,500 calls\n"
    assert run("import", str(file)) == f"{file}: 0 calls, 1,500 were there already\n"
    assert json.loads(run("report", "--json", "--since", "2026-01-01"))["totals"]["calls"] > 0


BATCH = [
    {"id": "batch_req_1", "custom_id": "r1", "error": None, "response": {"status_code": 200, "body": {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_772_625_600, "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "secret"}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }}},
    {"id": "batch_req_2", "custom_id": "r2", "error": None, "response": {"status_code": 200, "body": {
        "object": "list", "model": "text-embedding-3-small", "data": [{"object": "embedding", "embedding": []}],
        "usage": {"prompt_tokens": 1000, "total_tokens": 1000},
    }}},
    {"id": "batch_req_3", "custom_id": "r3", "response": {"status_code": 400, "body": {"error": {}}}, "error": None},
    {"id": "batch_req_4", "custom_id": "r4", "response": None, "error": {"code": "batch_expired", "message": "late"}},
]  # fmt: skip


def test_batch_output_is_priced_as_batch(url: str, run: Run, tmp_path: Path) -> None:
    """The lines of a batch's output are calls at half the price; requests that were not made are not calls."""
    file = tmp_path / "output.jsonl"
    file.write_text("\n".join(map(json.dumps, BATCH)), encoding="utf-8")
    assert run("import", str(file)) == f"{file}: 2 calls, 2 lines were of no call\n"
    assert "2 were there already" in run("import", str(file))
    ledger = Ledger(url)
    chat, embedding = sorted(ledger.calls(), key=lambda one: one.endpoint)
    ledger.close()
    assert (chat.endpoint, chat.service_tier, chat.started_at) == ("chat.completions", "batch", NOON)
    assert chat.cost == Decimal("0.000105")  # half of 1,000 at $0.15 and 100 at $0.60 per million
    assert (embedding.endpoint, embedding.cost) == ("embeddings", Decimal("0.00001"))
    assert "secret" not in str(chat.to_dict())
    assert embedding.usage.input_tokens == 1000


def test_tracker_report_is_imported(tmp_path: Path) -> None:
    """A report of our tracker has exact records; for another one its details are used."""
    tracker = TokenTracker(tmp_path)
    tracker.track_response(BATCH[0]["response"]["body"], "planner", "plan")  # type: ignore[index, call-overload]
    ours = tracker.save_report()
    (mine,) = imports.read(ours, PriceBook())
    assert mine == tracker.meter.calls[0]
    guide = {
        "session_start": "2026-03-04T10:00:00", "total_calls": 3, "calls_by_agent": {},
        "calls_detail": [
            {"timestamp": "2026-03-04T13:00:00", "agent_name": "a", "operation": "o", "model": "gpt-4o-mini",
             "input_tokens": 3245, "output_tokens": 1892, "total_tokens": 5137, "cost_usd": 0.001254},
        ] * 2 + [
            {"timestamp": "2026-03-04T13:00:00", "agent_name": "a", "operation": "o", "model": "mine",
             "input_tokens": 10, "output_tokens": 10, "total_tokens": 20, "cost_usd": 0.25},
        ],
    }  # fmt: skip
    file = tmp_path / "report.json"
    file.write_text(json.dumps(guide, indent=2), encoding="utf-8")
    from zoneinfo import ZoneInfo

    for _ in range(2):
        first, second, own = imports.read(file, PriceBook(), ZoneInfo("Europe/Paris"))
        assert (first.started_at, first.cost, first.agent) == (NOON, Decimal("0.00162195"), "a")
        assert first.id != second.id
        assert (own.cost, own.price_source) == (Decimal("0.25"), "imported report")
    (*_, priced) = imports.read(file, PriceBook(prices={"mine": Price(input=1, output=1)}))
    assert (priced.cost, priced.price_source) == (Decimal("0.00002"), "override")
    assert first.id == next(iter(imports.read(file, PriceBook(), ZoneInfo("Europe/Paris")))).id


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "line 1 is not JSON; pass JSON lines"),
        ("{", "is not JSON"),
        ("[1, 2]\n", "line 1: this is not one of"),
        ('{"x": 1}', "line 1: this is not one of"),
        ('{"started_at": "2026-01-01T00:00:00+00:00", "id": "x"}', "line 1: this is not a call"),
        ('{"calls_detail": [{"timestamp": "soon"}]}', "line 1: "),
        ('{"calls_detail": 3}', "line 1: "),
        ('\n{"custom_id": "x", "response": 3}\nx', "line 3 is not JSON"),
    ],
)
def test_unknown_file_raises_with_the_line(text: str, why: str, tmp_path: Path) -> None:
    """The error has the number of the line that has no known form."""
    file = tmp_path / "calls.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=why):
        list(imports.read(file, PriceBook()))


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cost": "1e99999999"}, r"cost is '1e99999999', which is not an amount"),
    ({"cost": 1e-300}, "cost is 1e-300, which is not an amount"),
    ({"cost": "9" * 5_000}, "cost is '9+[.]{3}, which is not an amount"),
    ({"duration": "fast"}, "duration is 'fast'; it has to be a number"),
    ({"duration": 1e300}, "seconds are beyond"),
    ({"model": 7}, "model is 7; it has to be text"),
    ({"agent": ["a"]}, r"agent is \['a'\]; it has to be text"),
    ({"tags": {"a": {"b": 1}}}, "tags is .*; it has to be an object of texts"),
    ({"tags": 3}, "tags"),
    ({"stream": "yes"}, "stream is 'yes'; it has to be true or false"),
    ({"id": None}, "id is None; it has to be text"),
    ({"usage_unknown": [1]}, "usage_unknown"),
    ({"started_at": 7}, "line 1"),
    ({"usage": [1]}, "line 1"),
]


@pytest.mark.parametrize(("changes", "why"), WRONG, ids=str)
def test_wrong_field_of_an_import_raises_with_line_and_field(changes: dict[str, Any], why: str, tmp_path: Path) -> None:
    """A value of the wrong type or size is refused before anything is computed with it."""
    file = tmp_path / "calls.jsonl"
    record = json.loads(exported("jsonl", call())) | changes
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"line 1: .*{why}" if why != "line 1" else why):
        list(imports.read(file, PriceBook()))


def test_wrong_detail_of_a_report_raises_with_its_number(tmp_path: Path) -> None:
    """In a report, the number of the call is named."""
    file = tmp_path / "report.json"
    good = {"timestamp": "2026-03-04T13:00:00", "model": "m", "input_tokens": 1, "output_tokens": 1, "cost_usd": 1}
    for wrong, why in (
        (good | {"cost_usd": "1e9999999"}, "cost_usd is '1e9999999'"),
        (3, "it is 3"),
        ({}, "timestamp is missing"),
    ):
        file.write_text(json.dumps({"calls_detail": [good, wrong]}), encoding="utf-8")
        with pytest.raises(ConfigurationError, match=rf"calls_detail\[1\]: {why}"):
            list(imports.read(file, PriceBook()))


def test_import_lists_calls_without_details(run: Run, tmp_path: Path) -> None:
    """Calls that are only in the totals of the report are listed with their tokens and dollars."""
    detail = {"timestamp": "2026-03-04T13:00:00", "agent_name": "a", "model": "gpt-4o-mini", "input_tokens": 1000,
              "output_tokens": 100, "total_tokens": 1100, "cost_usd": 0.00021}  # fmt: skip
    report = {
        "session_start": "x",
        "total_calls": 6,
        "total_tokens": 6600,
        "total_cost": 0.00126,
        "calls_detail": [detail] * 2,
    }
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report), encoding="utf-8")
    assert run("import", str(file)) == (
        f"{file}: 2 calls\n"
        f"{file}: 4 calls, 4,400 tokens and $0.00084 of its totals are not in its details, and cannot be imported\n"
    )
    file.write_text(json.dumps(report | {"unpriced_calls": 1, "total_calls": 3}), encoding="utf-8")
    assert "1 call, 4,400 tokens and at least $0.00084 of its totals" in run("import", str(file))


def test_import_lists_calls_with_a_new_price(run: Run, tmp_path: Path) -> None:
    """A call whose cost differs from the one in the report is listed; a single one in the singular."""
    detail = {"timestamp": "2026-03-04T13:00:00", "model": "gpt-4o-mini", "input_tokens": 3245, "output_tokens": 1892,
              "total_tokens": 5137, "cost_usd": 0.001254}  # fmt: skip
    file = tmp_path / "report.json"
    report = {"session_start": "x", "total_calls": 1, "total_tokens": 5137, "total_cost": 0.001254}
    file.write_text(json.dumps(report | {"calls_detail": [detail]}), encoding="utf-8")
    assert run("import", str(file)) == (
        f"{file}: 1 call\n{file}: 1 call was priced anew: $0.00162195, where the file states $0.001254\n"
    )
    assert run("import", str(file)).startswith(f"{file}: 0 calls, 1 was there already\n")
