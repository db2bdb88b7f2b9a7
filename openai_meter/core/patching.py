"""Puts wrappers round methods of classes, and takes every one of them back: from one list, in any order.

Knows wrapt, and nothing of what is patched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Patches", "Wrapper", "tree"]

logger = logging.getLogger("openai_meter")

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


class Patches:
    """All that is patched at the moment. Not thread-safe: whoever uses it holds a lock.

    A wrapper of ours is known by the function that it calls, wherever it turns up: another library may have built upon
    it, moved it to a derived class, or put it back after we took it away.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[type[Any], str], tuple[Wrapper, Any]] = {}

    def add(self, owner: type[Any], name: str, wrapper: Wrapper) -> None:
        """Wraps a method that the class itself defines, unless that has been done, also under somebody's wrapper."""
        found = vars(owner).get(name)
        if found is None or any(_calls(link, wrapper) for link in _chain(found)):
            return
        import wrapt  # noqa: PLC0415 - takes longer to import than all of openai_meter

        setattr(owner, name, wrapt.FunctionWrapper(found, wrapper))
        self._places[owner, name] = wrapper, found

    def undo(self) -> None:
        """Restores the identical originals. What somebody else has built upon stays, and is tried again next time."""
        left = {}
        for (owner, name), (wrapper, original) in self._places.items():
            for heir in tree(owner):
                _take_out(heir, name, wrapper)
            # Somebody's own function may hold ours inside, where nobody can see it.
            if vars(owner).get(name) is not original and not _says_what_it_wraps(vars(owner).get(name), original):
                left[owner, name] = wrapper, original
        if left:
            names = ", ".join(f"{owner.__name__}.{name}" for owner, name in left)
            logger.info("openai_meter is off; its inert wrapper stays under somebody else's patch of %s", names)
        self._places = left


def _says_what_it_wraps(found: Any, original: Any) -> bool:
    """Whether a chain can be followed, link by link, through wrapt wrappers to the original."""
    import wrapt  # noqa: PLC0415

    while isinstance(found, wrapt.FunctionWrapper):
        found = found.__wrapped__
    return found is original


def _calls(link: Any, wrapper: Wrapper) -> bool:
    """Whether a link of a chain is a wrapper of ours."""
    import wrapt  # noqa: PLC0415

    return isinstance(link, wrapt.FunctionWrapper) and link._self_wrapper is wrapper  # noqa: SLF001 - wrapt's own name


def _chain(found: Any) -> Iterator[Any]:
    """An attribute and all that it says it wraps, outermost first."""
    for _ in range(100):
        yield found
        found = getattr(found, "__wrapped__", None)
        if found is None:
            return


def _below(link: Any, wrapper: Wrapper) -> Any:
    """What is left of a chain if our wrappers at its beginning are taken off."""
    while _calls(link, wrapper):
        link = link.__wrapped__
    return link


def _take_out(owner: type[Any], name: str, wrapper: Wrapper) -> None:
    """Takes our wrapper out of an attribute, and from between other wrapt wrappers."""
    import wrapt  # noqa: PLC0415

    found = vars(owner).get(name)
    if found is None:
        return
    link = _below(found, wrapper)
    if link is not found:
        setattr(owner, name, link)
    while isinstance(link, wrapt.FunctionWrapper):
        below = _below(link.__wrapped__, wrapper)
        if below is not link.__wrapped__:
            link.__wrapped__ = below
        link = below


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
