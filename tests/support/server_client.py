"""What tests of the server share: meters and ledgers with calls in them, and a client on this machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs openai-meter[server]: the server is NOT tested")
pytest.importorskip("plotly", reason="needs openai-meter[server]: the server is NOT tested")

from starlette.testclient import TestClient

from openai_meter import Call, Meter, Usage
from openai_meter.core.call import new_call_id
from openai_meter.pricing import PriceBook
from openai_meter.server import create_app

HERE = ("127.0.0.1", 50_000)
ELSEWHERE = ("192.0.2.7", 50_000)
BOOK = PriceBook()


def client(*args: Any, peer: tuple[str, int] = HERE, host: str = "localhost", **settings: Any) -> TestClient:
    """A client of an application; its figures are always new."""
    app = create_app(*args, **{"max_age": 0} | settings)
    return TestClient(app, base_url=f"http://{host}", client=peer, raise_server_exceptions=True)


def call(model: str | None = "gpt-4o-mini", tokens: tuple[int, int] = (1000, 100), **more: Any) -> Call:
    """A call that ended a moment ago, at its real price."""
    at = more.pop("started_at", datetime.now(UTC) - timedelta(seconds=1))
    values: dict[str, Any] = {
        "id": new_call_id(at.timestamp()), "started_at": at, "duration": 0.5, "endpoint": "chat.completions",
        "provider": "openai", "model": model, "requested_model": model, "status": "ok",
        "usage": Usage(*tokens, sum(tokens)), "usage_source": "api", "host": "api.openai.com",
    }  # fmt: skip
    one = Call(**values | more)
    cost = BOOK.cost(BOOK.billable_of(one))
    priced = {
        "cost_pico": cost.amount_pico, "cost_status": cost.status, "cost_reason": cost.reason,
        "price_source": cost.source,
    }  # fmt: skip
    return Call(**values | priced | more)


def documented() -> Call:
    """The use that the architecture's document shows, in one call: $0.00162195."""
    one = call(tokens=(3245, 1892), agent="portfolio")
    assert one.cost_pico == 1_621_950_000
    return one


def filled(*calls: Call, **settings: Any) -> Meter:
    """A meter that has counted some calls."""
    meter = Meter(**{"thresholds": False} | settings)
    for one in calls:
        meter._take(one)
    return meter


def kept(path: Any, *calls: Call) -> Any:
    """A ledger in a file of SQLite, with some calls in it."""
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed: this is NOT tested")
    from openai_meter.ledger import Ledger

    ledger = Ledger(f"sqlite:///{path / 'usage.db'}", flush_interval=0.02)
    ledger.import_calls(calls)
    return ledger
