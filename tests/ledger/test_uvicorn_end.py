"""Ledgers are flushed when a server of uvicorn has shut down."""

from __future__ import annotations

import asyncio
import threading
from types import ModuleType

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")

from openai_meter.ledger import uvicorn_end


def served(log: list[str], error: Exception | None = None) -> ModuleType:
    """A module like uvicorn's, whose server writes down what happens."""
    module = ModuleType("uvicorn.server")

    class Server:
        async def shutdown(self, sockets: object = None) -> str:
            await asyncio.sleep(0)
            log.append(f"shut down {sockets}")
            if error is not None:
                raise error
            return "done"

    module.Server = Server
    uvicorn_end._patch(module, lambda: log.append("finished"))
    return module


def test_shutdown_in_the_main_thread_finishes_the_ledgers() -> None:
    """The ledgers are finished after the server has shut down; the server gets the arguments and the result."""
    log: list[str] = []
    module = served(log)

    async def main() -> str:
        return await module.Server().shutdown(sockets=3)

    assert asyncio.run(main()) == "done"
    assert log == ["shut down 3", "finished"]


def test_failed_shutdown_finishes_the_ledgers() -> None:
    """A shutdown that raises still finishes the ledgers, and raises the same."""
    log: list[str] = []
    module = served(log, ValueError("no"))

    async def main() -> None:
        await module.Server().shutdown()

    with pytest.raises(ValueError, match="no"):
        asyncio.run(main())
    assert log == ["shut down None", "finished"]


def test_shutdown_in_another_thread_leaves_the_ledgers_open() -> None:
    """A server in another thread does not end its process, so nothing is finished."""
    log: list[str] = []
    module = served(log)

    async def main() -> None:
        await module.Server().shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    assert log == ["shut down None"]


def test_module_without_a_server_is_not_patched() -> None:
    """A module without a ``Server`` class of the known form stays unchanged."""
    module = ModuleType("uvicorn.server")
    uvicorn_end._patch(module, lambda: None)
    assert not hasattr(module, "Server")
