"""The stores of budgets, each with a server of its own where it needs one."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from openai_meter.budgets import desk as desks

STORES = ("memory", "sqlite", "postgres", "redis")


@pytest.fixture(scope="session")
def budget_servers() -> Iterator[Callable[[str], Any]]:
    """Starts a server once it is needed."""
    running: dict[str, Any] = {}

    def start(kind: str) -> Any:
        if kind in running:
            return running[kind]
        if kind == "postgres":
            if find_spec("psycopg") is None:
                pytest.skip("psycopg is not installed: budgets in PostgreSQL are NOT tested")
            from postgres import Postgres, binaries

            if binaries() is None:
                pytest.skip("there is no PostgreSQL here: budgets in it are NOT tested")
            running[kind] = Postgres()
        else:
            if find_spec("redis") is None:
                pytest.skip("the package redis is not installed: budgets in Redis are NOT tested")
            from redis_server import RedisServer, binary

            if binary() is None:
                pytest.skip("there is no Redis or Valkey here: budgets in it are NOT tested")
            running[kind] = RedisServer()
        return running[kind]

    yield start
    for server in running.values():
        server.end()


@pytest.fixture(autouse=True)
def desks_end() -> Iterator[None]:
    """Ends the threads that report to stores, and closes the stores: they would go on in the middle of other tests."""
    yield
    for desk in list(desks._desks):
        desk._stop = True
        desk._rouse()
        if (thread := desk._thread) is not None:
            thread.join(60)
        desk.store.close()


@pytest.fixture(params=STORES)
def store_kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store_url(store_kind: str, budget_servers: Any, tmp_path: Any) -> str | None:
    """The URL of an empty store; ``None`` for memory."""
    if store_kind == "memory":
        return None
    if store_kind == "sqlite":
        return f"sqlite:///{tmp_path / 'budgets.db'}"
    return budget_servers(store_kind).url


@pytest.fixture
def store(store_url: str | None) -> Iterator[Any]:
    from openai_meter.budgets.stores.memory import MemoryStore
    from openai_meter.budgets.stores.opening import open_store

    made = MemoryStore() if store_url is None else open_store(store_url)
    yield made
    made.close()


@pytest.fixture
def key() -> str:
    """A key that no other test has."""
    return f"budget|{uuid.uuid4()}"
