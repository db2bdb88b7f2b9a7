"""What it costs to price a call, and how often the price is right, beside other libraries.

    python benchmarks/pricing.py [--against NAME...] [--cases FILE] [--rounds 10] [--json]

All price the same plain call (1,200 tokens in, 300 out), in turns, with their prices read already; what else a library
is asked for says so. A library that is not installed here works in an environment of its own, as a process that is
asked in its turn. ``completion_cost`` and ``estimate_response_cost`` are given an answer and find the usage in it; the
meter's own row for that is the third. Told are microseconds, and how many times those of the first row.

With the worked cases of a price reference (``--cases``, or ``pricing_golden.jsonl`` in ``OPENAI_METER_SHARED``), each
library is also told all that it has a place for of each case: right is what comes out to the pico-dollar, near within
one per cent. ``--json`` says what came out otherwise. The meter's prices were made with those cases at hand, and the
others' were not: that it has all of them right says only that it keeps to its reference.
"""

from __future__ import annotations

import json
import os
import warnings
from contextlib import ExitStack
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path

from environments import InstallationError
from harness import Report, alternate, arguments, machine, named, spread
from pricers import PRICERS, Case, asking


def off(case: Case, told: str) -> Decimal:
    """By how much of itself a price is off; wholly, if there is none."""
    try:
        return abs(Decimal(told) / Decimal(case["expected_usd"]) - 1)
    except InvalidOperation:
        return Decimal(1)


def main() -> None:
    """Measures, and prints."""
    parser = arguments((__doc__ or "").partition("\n")[0], rounds=10)
    shared = Path(os.environ.get("OPENAI_METER_SHARED", "."), "pricing_golden.jsonl")
    parser.add_argument("--against", nargs="+", default=list(PRICERS), metavar="NAME", help="which (all)")
    parser.add_argument("--cases", type=Path, default=shared if shared.is_file() else None, help="worked cases")
    options = parser.parse_args()
    cases = [json.loads(line) for line in options.cases.read_text("utf-8").splitlines()] if options.cases else []
    warnings.simplefilter("ignore")
    with ExitStack() as until:
        names = dict.fromkeys(["openai_meter", *named(options.against, PRICERS, "library")])
        asked, about, away = {}, [], []
        for name in names:
            try:
                asked[name], version = asking(name, until)
                about.append(f"{name} {version}")
            except InstallationError as error:
                away.append(f"{name} is not here: {error}")
        ways = {(name, way): partial(ask, way) for name, ask in asked.items() for way in ask("ways")}
        found = alternate(ways, options.rounds)
        told = {name: {case["id"]: ask(case) for case in cases} for name, ask in asked.items()}
    columns = ("library", "what", "us", "times", "right", "near")
    report = Report("Pricing a call", columns, f"{', '.join(about)}, {machine()}", notes=away)
    base = spread(next(iter(found.values()))).median
    for name, way in found:
        errors = [off(case, told[name][case["id"]]) for case in cases]
        exact, near = sum(one < Decimal("1e-12") for one in errors), sum(one < Decimal("0.01") for one in errors)
        middle = spread(found[name, way])
        report.add(name, way, middle, middle.median / base, exact if cases else None, near if cases else None)
    report.notes.append(f"right, near: of {len(cases)} worked cases" if cases else "There are no worked cases here.")
    for name in told if options.json else ():
        wrong = {case["id"]: told[name][case["id"]] for case in cases if off(case, told[name][case["id"]]) >= 1e-12}
        report.notes.append(f"{name}, otherwise: {json.dumps(wrong)}")
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
