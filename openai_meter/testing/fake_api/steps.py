"""The steps of a program that are written once for both kinds of client. For the sync client none of them waits."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

__all__ = ["Steps"]


class Steps:
    """The steps of a program with a client; :meth:`see` records the values that it gets."""

    def see(self, value: Any) -> None:
        """Records a value that the program gets."""
        raise NotImplementedError

    async def do(self, value: Any) -> Any:
        """The result of a method, awaited where it has to be."""
        return await value if inspect.isawaitable(value) else value

    async def get(self, value: Any) -> Any:
        """Like :meth:`do`, and records the result."""
        answer = await self.do(value)
        self.see(answer)
        return answer

    async def read(self, items: Any, stop: int | None = None) -> None:
        """Reads and records items, all or the first few."""
        count = 0
        if hasattr(items, "__aiter__"):
            async for item in items:
                self.see(item)
                count += 1
                if count == stop:
                    break
        else:
            for item in items:
                self.see(item)
                count += 1
                if count == stop:
                    break

    @asynccontextmanager
    async def within(self, manager: Any) -> AsyncIterator[Any]:
        """Enters a context manager of either kind."""
        if hasattr(manager, "__aenter__"):
            async with manager as value:
                yield value
        else:
            with manager as value:
                yield value
