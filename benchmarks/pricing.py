"""What it costs to price a call, beside genai-prices' ``calc_price``: ``python benchmarks/pricing.py``.

Times are the best of several rounds, in one process, so that the ratios hold wherever it runs.
"""

from __future__ import annotations

import timeit
import warnings
from datetime import UTC, datetime

from openai_meter.prices import Billable, PriceBook
from openai_meter.usage import Usage

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOST = "api.openai.com"


def best(function, number=20_000, rounds=7):
    """Microseconds per call, of the best round."""
    return min(timeit.repeat(function, number=number, repeat=rounds)) / number * 1e6


def main():
    book = PriceBook(discount="0.05")
    plain = Usage(1200, 300, 1500)
    cached = Usage(20_000, 800, 20_800, cached_input_tokens=4096, cache_write_tokens=12_288)
    searched = Usage(18_500, 900, 19_400, cached_input_tokens=4096, web_searches=2)
    whole = Billable(cached, "gpt-6-sol", at=AT, host=HOST)
    tool = Billable(searched, "gpt-5.4", at=AT, host=HOST)
    start = timeit.default_timer()
    book.cost_of(plain, "gpt-5.4-mini", "openai", HOST, "default", AT)
    first = (timeit.default_timer() - start) * 1e3
    rows = [
        ("cost_of, plain text call", lambda: book.cost_of(plain, "gpt-5.4-mini", "openai", HOST, "default", AT)),
        ("cost_of, cached and written", lambda: book.cost_of(cached, "gpt-6-sol", "openai", HOST, "default", AT)),
        ("cost_of and .usd", lambda: book.cost_of(plain, "gpt-5.4-mini", "openai", HOST, "default", AT).usd),
        ("cost, plain text call", lambda: book.cost(whole)),
        ("cost, with two web searches", lambda: book.cost(tool)),
        ("lines, plain text call", lambda: book.lines(whole)),
    ]
    print(f"first cost of the process (reads the catalog): {first:.0f} ms\n")
    times = [(name, best(call, 5_000 if "search" in name or "lines" in name else 20_000)) for name, call in rows]
    try:
        import genai_prices  # noqa: PLC0415

        usage = genai_prices.Usage(input_tokens=1200, output_tokens=300)

        def theirs():
            return genai_prices.calc_price(usage, "gpt-5.4-mini", provider_id="openai", genai_request_timestamp=AT)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            times.append(("genai-prices calc_price, plain", best(theirs, 2_000)))
    except (ImportError, AttributeError, TypeError) as error:
        print(f"genai-prices: {error!r}")
    base = times[0][1]
    for name, micros in times:
        print(f"{name:<34}{micros:>9.2f} us {micros / base:>8.1f} x")


if __name__ == "__main__":
    main()
