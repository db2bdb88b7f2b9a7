"""``openai-meter report``: its order, its first rows, names that do not exist, and CSV for Excel."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from openai_meter import Call, ConfigurationError, Meter, Usage
from openai_meter.core.call import new_call_id
from openai_meter.ledger import Ledger

NOW = datetime.now(UTC)
CALL = Call(
    "", NOW - timedelta(hours=1), 0.5, "responses", "openai", "gpt-4o-mini", "gpt-4o-mini", "ok", Usage(100, 50, 150),
    "api", cost_pico=10**12, cost_status="priced",
)  # fmt: skip


@pytest.fixture
def report(tmp_path: Path, invoke: Callable[..., Any]) -> Callable[..., Any]:
    """Runs ``report`` on a ledger of six agents, each with more cost and fewer tokens than the one before."""
    url = f"sqlite:///{tmp_path}/usage.db"
    ledger = Ledger(url)
    ledger.import_calls(
        replace(CALL, id=new_call_id(), agent=f"équipe-{n}", cost_pico=n * 10**12, usage=Usage(100 - n, 0, 100 - n))
        for n in range(1, 7)
    )
    ledger.close()
    return lambda *args: invoke("report", "--ledger", url, *args)


def agents(result: Any) -> list[str]:
    return [row["agent"] for row in json.loads(result.out)["rows"]]


def test_report_by_agent_begins_with_the_largest_cost(report) -> None:
    """Without --sort the rows are by cost."""
    assert agents(report("--by", "agent", "--json"))[0] == "équipe-6"


@pytest.mark.parametrize(("name", "first"), [("name", 1), ("tokens", 1), ("input", 1), ("cost", 6), ("calls", 1)])
def test_sort_puts_the_rows_in_that_order(name: str, first: int, report) -> None:
    """Each order has its own first row; equal rows are by name."""
    assert agents(report("--by", "agent", "--sort", name, "--json"))[0] == f"équipe-{first}"


def test_top_folds_the_other_rows_into_one(report) -> None:
    """The rows beyond the first ones are one row, and all rows still sum up to the totals."""
    result = json.loads(report("--by", "agent,model", "--top", "2", "--json").out)
    assert [row["agent"] for row in result["rows"]] == ["équipe-6", "équipe-5", "(4 others)"]
    assert sum(row["calls"] for row in result["rows"]) == result["totals"]["calls"] == 6
    assert result["rows"][-1]["cost"] == "10"
    assert "(4 others)" in report("--by", "agent", "--top", "2").out


def test_top_of_all_but_one_row_folds_nothing(report) -> None:
    """One other row is shown by its name."""
    assert len(agents(report("--by", "agent", "--top", "5", "--json"))) == 6


@pytest.mark.parametrize("args", [("--sort", "colour"), ("--top", "0"), ("--excel",)])
def test_report_with_an_unusable_option_is_refused(args: tuple[str, ...], report) -> None:
    """What cannot be an order, a number of rows or a form for Excel is refused."""
    assert report("--by", "agent", *args).code == 2


def test_filter_with_an_unknown_name_suggests_the_nearest(report) -> None:
    """A model that no call has is named on standard error, with the nearest one; the exit code is 0."""
    code, _, errors = report("--model", "gpt-4o-mni")
    assert code == 0
    assert errors == "openai-meter: no call in the ledger has the model 'gpt-4o-mni'. Did you mean gpt-4o-mini?\n"
    assert "no call in the ledger has the agent 'x'." in report("--agent", "x", "--json").err
    assert "aucun appel du registre" in report("--agent", "x", "--lang", "fr").err


def test_filter_without_calls_in_the_span_is_not_unknown(report) -> None:
    """A name that the ledger has, but not in this time, is not called unknown."""
    assert report("--model", "gpt-4o-mini", "--until", "2020-01-01", "--since", "2019-01-01").err == ""


@pytest.mark.parametrize(("lang", "separator", "cost"), [("en", ",", "6"), ("fr", ";", "6")])
def test_csv_for_excel_has_a_byte_order_mark_and_the_separator(lang: str, separator: str, cost: str, report) -> None:
    """Excel reads the file as UTF-8, and splits its cells, by a mark and the separator of the language."""
    out = report("--by", "agent", "--csv", "--excel", "--lang", lang).out
    assert out.startswith("\ufeffagent" + separator)
    first = next(csv.DictReader(io.StringIO(out.removeprefix("\ufeff")), delimiter=separator))
    assert (first["agent"], first["cost"]) == ("équipe-6", cost)


def test_saved_report_for_excel_has_decimals_of_the_language(tmp_path: Path) -> None:
    """Amounts have the decimal sign of the language, times and names stay; the plain file is as before."""
    meter = Meter()
    meter._take(replace(CALL, id="1", model="gpt-4.1", cost_pico=10**9))
    path = meter.save_report(tmp_path / "fr.csv", excel=True, lang="fr")
    assert path.read_bytes().startswith(b"\xef\xbb\xbfmodel;")
    (row,) = csv.DictReader(io.StringIO(path.read_text("utf-8-sig")), delimiter=";")
    assert (row["model"], row["cost"]) == ("gpt-4.1", "0,001")
    assert row["first_call_at"] == CALL.started_at.isoformat()
    plain = meter.save_report(tmp_path / "plain.csv", lang="fr").read_bytes()
    assert plain.startswith(b"model,")
    with pytest.raises(ConfigurationError, match="excel=True is for CSV"):
        meter.save_report(tmp_path / "a.json", excel=True)


def test_exported_calls_for_excel_have_no_control_characters(tmp_path: Path, invoke) -> None:
    """Names of models, agents and tags are shown as in tables: terminal sequences and C1 controls are replaced."""
    url = f"sqlite:///{tmp_path}/usage.db"
    ledger = Ledger(url)
    ledger.import_calls(
        [replace(CALL, id="1", model="a\x1b[2J\nb", agent="c\x9bd", tags={"e\x85": "f\x9b"}, cost_pico=10**9)]
    )
    ledger.close()
    path = tmp_path / "calls.csv"
    assert invoke("export", "--ledger", url, "--format", "csv", "--excel", "--lang", "fr", "-o", path).code == 0
    text = path.read_text("utf-8-sig")
    assert not any(char in text for char in "\x1b\x85\x9b")
    (row,) = csv.DictReader(io.StringIO(text), delimiter=";")
    assert (row["cost"], row["agent"]) == ("0,001", "c\N{REPLACEMENT CHARACTER}d")
    assert invoke("export", "--ledger", url, "--excel").code == 2


# --- what has no price ------------------------------------------------------------------------------------------------

PROXIED = replace(
    CALL, id="proxied", host="llm.example.com", provider="llm.example.com", cost_pico=None, cost_status="unpriced",
    cost_reason="provider: llm.example.com",
)  # fmt: skip


def notes(*calls: Call, lang: str = "en") -> str:
    meter = Meter(thresholds=False)
    for each in calls:
        meter._take(each)
    return meter.report().render("table", lang=lang)


def test_call_through_a_proxy_has_a_note_with_the_remedy() -> None:
    """The note has the host, each way to name it, and the command that repairs a ledger."""
    for lang in ("en", "fr"):
        text = " ".join(notes(PROXIED, lang=lang).split())
        assert "install(hosts={'llm.example.com': 'openai'})" in text
        assert "OPENAI_METER_HOSTS=llm.example.com=openai" in text
        assert "openai-meter run --host llm.example.com" in text
        assert "openai-meter reprice --host llm.example.com" in text
        assert "provider:" not in text


def test_unknown_usage_is_not_a_missing_price_and_not_zero_tokens() -> None:
    """A call whose usage is unknown has a note of its own; where tokens are unknown, no number of them is written."""
    unknown = replace(
        CALL, id="1", model="gpt-5.1", usage=Usage(None, None, None), usage_source="none", cost_pico=None,
        cost_status="unpriced", cost_reason="usage unknown",
    )  # fmt: skip
    text = notes(unknown)
    assert "No usage of gpt-5.1: 1 call." in text
    assert "No price" not in text
    assert "0 tokens" not in text
    both = notes(replace(unknown, cost_reason="unknown model"))
    assert "No price for gpt-5.1: 1 call (unknown model)." in both


def test_reprice_with_a_host_prices_the_calls_of_a_proxy(tmp_path: Path, invoke) -> None:
    """A history that was recorded without the host is repaired; other hosts stay as they are."""
    url = f"sqlite:///{tmp_path}/usage.db"
    ledger = Ledger(url)
    ledger.import_calls([PROXIED, replace(PROXIED, id="other", host="other.example.com")])
    ledger.close()
    out = invoke("reprice", "--ledger", url, "--host", "llm.example.com", "--json").out
    assert json.loads(out) == {"repriced": 1, "unpriced_calls": 1}
    totals = json.loads(invoke("report", "--ledger", url, "--by", "provider", "--json").out)["totals"]
    assert totals["cost"] == "0.000045"
    assert invoke("reprice", "--ledger", url, "--host", "x=acme").code == 2


def test_reprice_names_the_remedy_for_calls_that_have_no_price(tmp_path: Path, invoke) -> None:
    """Where calls of an unknown host are left, the host and the remedy are named, as in reports."""
    url = f"sqlite:///{tmp_path}/usage.db"
    ledger = Ledger(url)
    ledger.import_calls([PROXIED])
    ledger.close()
    out = invoke("reprice", "--ledger", url).out
    assert out.startswith("0 calls have a full price now.\n1 call still has none.\nNo price for ")
    assert "openai-meter reprice --host llm.example.com" in out


def test_chart_has_no_cost_for_calls_that_were_free(tmp_path: Path, invoke) -> None:
    """A model whose calls all failed has a dash in the chart, as in the table, and an unknown cost a question mark."""
    url = f"sqlite:///{tmp_path}/usage.db"
    ledger = Ledger(url)
    free = replace(CALL, id="free", model="gone", status="error", cost_pico=0, cost_status="free", usage=Usage())
    unknown = replace(CALL, id="unknown", model="new", cost_pico=None, cost_status="unpriced")
    ledger.import_calls([replace(CALL, id="known"), free, unknown])
    ledger.close()
    lines = invoke("report", "--ledger", url, "--by", "model", "--chart").out.splitlines()
    ends = {line.split()[0]: line.split()[-1] for line in lines[1:-1]}
    assert ends == {"gpt-4o-mini": "$1.00", "gone": "-", "new": "?"}
    assert lines[-1] == "Total: $1.00+"


def test_run_adds_hosts_to_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts of the command line are added to those of the variable, for this process and its children."""
    from openai_meter.cli.hosts import add_hosts
    from openai_meter.core import settings

    monkeypatch.setenv("OPENAI_METER_HOSTS", "a.example.com=azure")
    add_hosts(["b.example.com", "c.example.com=azure"])
    assert settings.get("hosts") == {"a.example.com": "azure", "b.example.com": "openai", "c.example.com": "azure"}
    with pytest.raises(ConfigurationError, match="name of a host"):
        add_hosts(["https://b.example.com"])
