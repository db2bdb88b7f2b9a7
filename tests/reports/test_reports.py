"""What is printed: tables at several widths, plain and in colour, and the line."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from rich.cells import cell_len
from rich.console import Console

import openai_meter
from openai_meter import Call, Meter, Usage
from openai_meter.core.locale import language
from openai_meter.reports import tables
from openai_meter.reports.words import dollars

START = datetime(2026, 1, 1, tzinfo=UTC)
BASE = Call(
    "id", START, 0.1, "chat.completions", "openai", "gpt-6-luna", "m", "ok", Usage(1200, 340, 1540), "api",
    cost_pico=290_000_000, cost_status="priced",
)  # fmt: skip


def metered(*calls: Call) -> Meter:
    meter = Meter()
    for call in calls:
        meter._take(call)
    return meter


def printed(meter: Meter) -> str:
    file = io.StringIO()
    meter.print_summary(file)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_table_in_a_pipe_is_plain_text() -> None:
    """In a pipe the table is plain text, with a row per model, the largest first, the totals and the alert below."""
    meter = metered(
        BASE,
        replace(BASE, model="gpt-6.2-sol", usage=Usage(10_000, 2_000, 12_000, cached_input_tokens=8_192)),
        replace(BASE, model="gpt-6.2-sol", usage=Usage(10_000, 2_000, 12_000, reasoning_tokens=512)),
        replace(BASE, model="gpt-unknown", status="error", usage=Usage(), cost_pico=0, cost_status="free"),
    )
    assert printed(meter) == (
        "OpenAI usage\n"
        "Model         Calls    Input   Cached   Output   Reasoning    Total   Errors        Cost\n"
        "────────────────────────────────────────────────────────────────────────────────────────\n"
        "gpt-6.2-sol       2   20,000    8,192    4,000         512   24,000        -   $0.000580\n"
        "gpt-6-luna        1    1,200        -      340           -    1,540        -   $0.000290\n"
        "gpt-unknown       1        -        -        -           -        -        1           -\n"
        "────────────────────────────────────────────────────────────────────────────────────────\n"
        "Total             4   21,200    8,192    4,340         512   25,540        1   $0.000870\n"
        "⚠️ Alert: 8,513.4 tokens per call on average (limit: 2,000); shorten the prompts\n"
        "Cached is part of Input; Reasoning is part of Output."
    )


def test_table_without_calls_has_zero_totals() -> None:
    """Without a call the table says so in its totals."""
    assert printed(metered()).splitlines()[-1].split() == ["Total", "-", "-", "-", "-", "-"]


def test_unknown_tokens_are_a_question_mark() -> None:
    """Or a plus on the known ones; a note has the reason."""
    unknown = replace(BASE, model="silent", usage=Usage(), usage_source="none", cost_pico=None, cost_status="unpriced")
    shown = printed(metered(BASE, unknown))
    assert re.search(r"silent +1 +\? +\? +\? +\?", shown)
    assert re.search(r"Total +2 +1,200\+ +340\+ +1,540\+ +\$0\.000290\+", shown)
    assert "1 call of unknown size" in shown
    assert metered(BASE, unknown).summary() == "2 calls | 1,540+ tokens | $0.000290+ | 1 call of unknown size"
    assert metered(unknown).summary() == "1 call | ? tokens | ? | 1 call of unknown size"


@pytest.mark.parametrize(
    "name", ["[red]x[/red]", "[/]", ":smile:", "a\x1b[31mb", "x" * 100, "modèle-é", "[link=http://x]"]
)
def test_name_in_a_table_is_escaped(name: str) -> None:
    """A model's name is printed as it is: no markup, no emoji, no control sequence."""
    shown = printed(metered(replace(BASE, model=name)))
    flat = "".join(line.split("  ")[0] for line in shown.splitlines()[3:5])
    assert "\x1b" not in shown
    assert name.replace("\x1b", "\N{REPLACEMENT CHARACTER}")[:60] in flat


@pytest.mark.parametrize("width", [40, 59, 60, 80, 100, 140])
def test_table_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal no line is wider than it, and no number is cut off."""
    usage = Usage(123_456, 98_765, 222_221, cached_input_tokens=99_999, reasoning_tokens=88_888)
    meter = metered(replace(BASE, model="gpt-5.4-mini-2026-03-17-a-long-deployment-name", usage=usage))
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, no_color=True, _environ={})
    monkeypatch.setattr(tables, "Console", lambda **_: console)
    meter.print_summary(file)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in file.getvalue().splitlines()]
    assert max(len(line.rstrip()) for line in lines) <= width
    assert any("222,221" in line for line in lines)
    assert not any("…" in line for line in lines)


def test_at_80_columns_names_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal of 80 columns a usual name is on one line; details are left out before it is wrapped."""
    usage = Usage(123_456, 98_765, 222_221, cached_input_tokens=99_999, reasoning_tokens=88_888)
    meter = metered(replace(BASE, model="gpt-5.4-mini-2026-03-17", usage=usage, status="failed"))
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, no_color=True, _environ={})
    monkeypatch.setattr(tables, "Console", lambda **_: console)
    meter.print_summary(file)
    text = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue())
    assert "gpt-5.4-mini-2026-03-17 " in text
    assert "Reasoning  " not in text
    assert "222,221" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize("width", [40, 60, 79, 80, 81, 100, 120, 140, 250])
@pytest.mark.parametrize("by", ["agent,model", "agent,operation,user,session,model", "model"])
def test_any_table_fits_any_terminal(by: str, width: int, lang: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names a row has, the table is as wide as the terminal at most, and the costs in it stay whole."""
    calls = [
        replace(BASE, agent=agent, model=model, operation="analyse des besoins", session="a" * 36, usage=usage)
        for agent, model, usage in (
            ("need_analysis", "gpt-5.4-mini-2026-03-17", Usage(123_456, 98_765, 222_221, reasoning_tokens=88_888)),
            ("模型模型模型模型模型", "gpt-6-luna", Usage(1, 2, 3, cached_input_tokens=1)),
            (None, "gpt-6-luna", Usage()),
        )
    ]
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, no_color=True, _environ={})
    monkeypatch.setattr(tables, "Console", lambda **_: console)
    meter = metered(*calls)
    meter.print_summary(file, by=by, lang=lang)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in file.getvalue().splitlines()]
    assert max(map(cell_len, lines)) <= width
    costs = [dollars(row.totals.cost, language(lang).numbers) for row in meter.report(by).rows]
    shown = re.findall(r"(?:\$[\d.]+|[\d,]+\xa0\$)$", "\n".join(lines), re.MULTILINE)
    assert shown == [*costs, dollars(Decimal("0.00087"), language(lang).numbers)]
    if by == "agent,model" and width >= 100:
        assert any("gpt-5.4-mini-2026-03-17 " in line for line in lines)


def test_output_in_an_old_encoding_drops_accents() -> None:
    """Where the output cannot show a letter with its accent, the letter stands for it."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    metered(replace(BASE, model="modèle")).print_summary(file)
    file.flush()
    assert b"modele" in raw.getvalue()


def test_summary_as_json_has_totals_models_and_faults() -> None:
    """The summary as plain values has the totals, the models, and what is open or went wrong."""
    data = metered(BASE).to_dict()
    assert data["dimensions"] == ["model"]
    assert (data["pending"], data["internal_errors"], data["unpriced"], data["name"]) == (0, 0, [], None)
    assert data["totals"]["total_tokens"] == data["rows"][0]["total_tokens"] == 1540
    assert data["rows"][0]["model"] == "gpt-6-luna"
    assert data["totals"]["first_call_at"] == "2026-01-01T00:00:00+00:00"


def test_line_leaves_out_what_is_zero() -> None:
    """The compact line has calls and tokens, and errors only if there are any."""
    failed = replace(BASE, status="error", usage=Usage(), cost_pico=0, cost_status="free")
    assert metered().summary() == "0 calls | 0 tokens | $0.00"
    assert metered(BASE).summary() == "1 call | 1,540 tokens | $0.000290"
    assert metered(BASE, failed).summary() == "2 calls | 1,540 tokens | $0.000290 | 1 error"


def test_table_of_a_block_has_its_name() -> None:
    """The table of a block says whose it is."""
    assert openai_meter.track("nightly").report().render().startswith("OpenAI usage: nightly\n")


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0.000487", "$0.000487"),
        ("0.00000116", "$0.00000116"),
        ("0.0001", "$0.000100"),
        ("0.0124", "$0.0124"),
        ("0.99949", "$0.999"),
        ("1", "$1.00"),
        ("1234.567", "$1,234.57"),
        ("0.000000000001", "$0.00000000000100"),
    ],
)
def test_small_costs_have_three_digits(amount: str, shown: str) -> None:
    """From a dollar up there are cents; below it three significant digits, never a rounded zero."""
    assert dollars(Decimal(amount)) == shown


def test_table_lists_calls_without_a_price() -> None:
    """Below the table stands what has no price and why, with its calls and tokens."""
    reason = {"cost_pico": None, "cost_status": "unpriced", "cost_reason": "model: my-model"}
    shown = printed(metered(BASE, *[replace(BASE, model="my-model", **reason)] * 2))
    assert "No price for my-model: 2 calls, 3,080 tokens (model: my-model)." in shown
    assert re.search(r"my-model +2 +2,400 +680 +3,080 +\?", shown)
    assert re.search(r"Total +3 .* \$0\.000290\+", shown)
