"""Puts wrappers round methods of classes, and takes every one of them back: from one list, in any order.

Knows wrapt, and nothing of what is patched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["Patches", "tree"]

logger = logging.getLogger("openai_meter")

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


class Patch(NamedTuple):
    """One attribute that was replaced."""

    owner: type[Any]
    name: str
    original: Any
    wrapper: Any


class Patches:
    """All that is patched at the moment. Not thread-safe: whoever uses it holds a lock."""

    def __init__(self) -> None:
        self._patches: list[Patch] = []

    def add(self, owner: type[Any], name: str, wrapper: Wrapper) -> None:
        """Wraps a method that the class itself defines, unless that has been done, also under somebody's wrapper."""
        found = vars(owner).get(name)
        ours = {id(patch.wrapper) for patch in self._patches}
        if found is None or any(id(link) in ours for link in _chain(found)):
            return
        import wrapt  # noqa: PLC0415 - takes longer to import than all of openai_meter

        patch = Patch(owner, name, found, wrapt.FunctionWrapper(found, wrapper))
        setattr(owner, name, patch.wrapper)
        self._patches.append(patch)

    def undo(self) -> None:
        """Takes back every patch. One that somebody else has built upon stays, and is tried again the next time."""
        left = [patch for patch in self._patches if not _undo(patch)]
        if left:
            names = ", ".join(f"{patch.owner.__name__}.{patch.name}" for patch in left)
            logger.info("openai_meter is off; its inert wrapper stays under somebody else's patch of %s", names)
        self._patches = left


def _chain(found: Any) -> Iterator[Any]:
    """An attribute and all that it says it wraps, outermost first."""
    for _ in range(100):
        yield found
        found = getattr(found, "__wrapped__", None)
        if found is None:
            return


def _undo(patch: Patch) -> bool:
    """Restores the identical original; under other wrapt wrappers, takes ours out from between."""
    found = vars(patch.owner).get(patch.name)
    if found is patch.wrapper:
        setattr(patch.owner, patch.name, patch.original)
        return True
    if found is patch.original:  # somebody restored it before us
        return True
    import wrapt  # noqa: PLC0415

    while isinstance(found, wrapt.FunctionWrapper):
        if found.__wrapped__ is patch.wrapper:
            found.__wrapped__ = patch.original
            return True
        found = found.__wrapped__
    return False


def tree(root: type[Any]) -> Iterator[type[Any]]:
    """A class and all classes derived from it."""
    seen = {root}
    waiting = [root]
    while waiting:
        owner = waiting.pop()
        yield owner
        for child in owner.__subclasses__():
            if child not in seen:
                seen.add(child)
                waiting.append(child)
