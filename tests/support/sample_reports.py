"""The report of the tracker's guide, and meters with calls in them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from openai_meter import Call, Meter, Totals, Usage
from openai_meter.reports.report import Report, Row

SINCE = datetime(2025, 10, 14, 13, 30, 45, tzinfo=UTC)


UNTIL = SINCE + timedelta(minutes=15, seconds=20)


def counted(calls: int, tokens_in: int, tokens_out: int, dollars: str | None, **more: object) -> Totals:
    amount = None if dollars is None else int(Fraction(dollars) * 10**12)
    return Totals(calls, usage=Usage(tokens_in, tokens_out, tokens_in + tokens_out), cost_pico=amount, **more)


def report(by: tuple[str, ...], rows: dict[tuple[str, ...], Totals], totals: Totals, **more: object) -> Report:
    return Report(by, tuple(Row(*row) for row in rows.items()), totals, SINCE, UNTIL, **more)


GUIDE = report(
    ("agent",),
    {
        ("workshop",): counted(2, 3_000, 2_500, "0.011"),
        ("transcript",): counted(2, 7_000, 3_500, "0.042"),
        ("need_analysis",): counted(1, 5_000, 3_000, "0.032"),
        ("use_case_analysis",): counted(2, 7_000, 1_000, "0.039"),
    },
    counted(7, 22_000, 10_000, "0.124"),
)


CALL = Call(
    "id", SINCE, 0.1, "chat.completions", "openai", "gpt-6-luna", "m", "ok", Usage(1200, 340, 1540), "api",
    cost_pico=290_000_000, cost_status="priced",
)  # fmt: skip


def metered() -> Meter:
    meter = Meter()
    for agent, model, cost in (
        ("cheap", "a", 1), ("dear", "a", 5), ("cheap", "b", 3), ("dear", "b", 500), ("dear", "c", None), (None, "a", 7),
    ):  # fmt: skip
        status = "unpriced" if cost is None else "priced"
        meter._take(replace(CALL, agent=agent, model=model, cost_pico=cost, cost_status=status))
    return meter
