"""What a ledger costs: the time of a put, calls per second into a database, its size per call.

    python benchmarks/ledger.py [CALLS] [URL]

By default 100,000 calls into a file of SQLite that is deleted afterwards. The calls of a PostgreSQL stay there.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from openai_meter import Call, Usage
from openai_meter.call import new_call_id
from openai_meter.ledger import Ledger

BLOCK = 20_000


def make(n: int) -> Call:
    return Call(
        id=new_call_id(), started_at=datetime.now(UTC), duration=0.5, endpoint="responses", provider="openai",
        model="gpt-5-mini-2025-08-07", requested_model="gpt-5-mini", status="ok",
        usage=Usage(1000 + n % 50, 20, 1020 + n % 50, cached_input_tokens=n % 3), usage_source="api",
        response_id=f"resp_{n:050}", service_tier="default", cost_pico=250_000_000 + n, cost_status="priced",
        price_source="genai-prices 0.1.12", agent=f"agent {n % 5}", operation=f"operation {n % 4}", user=f"u{n % 100}",
        session=f"s{n % 1000}", tags={"env": "prod"}, host="api.openai.com",
    )  # fmt: skip


def main(count: int, url: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(url or f"sqlite:///{folder}/usage.db", spool=Path(folder) / "spool")
        ledger.prepare()
        putting = storing = 0.0
        for start in range(0, count, BLOCK):
            calls = [make(n) for n in range(start, min(start + BLOCK, count))]
            gc.collect()
            with ledger._writer._doing:  # the thread waits: what is measured is the put alone
                began = time.perf_counter()
                for call in calls:
                    ledger.put(call)
                putting += time.perf_counter() - began
                began = time.perf_counter()
            assert ledger.flush(600)
            storing += time.perf_counter() - began
        ledger.close()
        stats = ledger.stats
        print(f"{count:,} calls: {putting / count * 1e6:.2f} us per put, {count / storing:,.0f} calls/s stored")
        print(f"written {stats.written:,}, spooled {stats.spooled:,}, dropped {stats.dropped:,}")
        if url is None:
            print(f"{(Path(folder) / 'usage.db').stat().st_size / count:.0f} bytes per call")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, sys.argv[2] if len(sys.argv) > 2 else None)
