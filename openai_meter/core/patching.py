"""Wraps methods of classes, and removes every wrapper again: from one list, in any order.

It uses wrapt, and does not depend on what is patched.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from weakref import ref

__all__ = ["Patches", "Wrapper", "tree"]

logger = logging.getLogger("openai_meter")

Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


class _Place(NamedTuple):
    """A method that is wrapped. It keeps no class alive: one without a reference in the program is collected."""

    owner: Callable[[], type[Any] | None]
    name: str
    wrapper: Callable[[], Wrapper | None]
    original: Callable[[], Any]


class Patches:
    """All that is patched at the moment. Not thread-safe: callers hold a lock.

    A wrapper of ours is recognised by the function that it calls, wherever it is: another library may have wrapped it,
    moved it to a derived class, or restored it after it was removed.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[int, str], _Place] = {}

    def add(self, owner: type[Any], name: str, wrapper: Wrapper) -> None:
        """Wraps a method that the class itself defines, unless that has been done, also under another wrapper."""
        found = vars(owner).get(name)
        if found is None or any(_calls(link, wrapper) for link in _chain(found)):
            return
        import wrapt  # noqa: PLC0415 - takes longer to import than all of openai_meter

        setattr(owner, name, wrapt.FunctionWrapper(found, wrapper))
        self._places = {key: place for key, place in self._places.items() if place.owner() is not None}
        self._places[id(owner), name] = _Place(_weak(owner), name, _weak(wrapper), _weak(found))

    def undo(self) -> None:
        """Restores the identical originals. A wrapper below another library's stays, and is tried again next time."""
        left = {}
        for key, place in self._places.items():
            owner, wrapper, original = place.owner(), place.wrapper(), place.original()
            if owner is None or wrapper is None or original is None:  # collected: there is nothing to restore
                continue
            for heir in tree(owner):
                _take_out(heir, place.name, wrapper)
            # A function of another library may hold ours inside, where it cannot be found.
            found = vars(owner).get(place.name)
            if found is not original and not _leads_to(found, original):
                left[key] = place
        if left:
            names = ", ".join(f"{getattr(place.owner(), '__name__', '?')}.{place.name}" for place in left.values())
            logger.info("openai_meter is off; its inert wrapper stays under another library's patch of %s", names)
        self._places = left


def _weak(value: Any) -> Callable[[], Any]:
    """A reference that does not keep a value alive, where its type allows one."""
    try:
        return ref(value)
    except TypeError:
        return lambda: value


def _leads_to(found: Any, original: Any) -> bool:
    """Whether a chain of wrapt wrappers can be followed, link by link, to the original."""
    import wrapt  # noqa: PLC0415

    while isinstance(found, wrapt.FunctionWrapper):
        found = found.__wrapped__
    return found is original


def _calls(link: Any, wrapper: Wrapper) -> bool:
    """Whether a link of a chain is a wrapper of ours."""
    import wrapt  # noqa: PLC0415

    return isinstance(link, wrapt.FunctionWrapper) and link._self_wrapper is wrapper  # noqa: SLF001 - wrapt's own name


def _chain(found: Any) -> Iterator[Any]:
    """An attribute and everything that it wraps, by ``__wrapped__``, outermost first."""
    for _ in range(100):
        yield found
        found = getattr(found, "__wrapped__", None)
        if found is None:
            return


def _below(link: Any, wrapper: Wrapper) -> Any:
    """The rest of a chain without our wrappers at its beginning."""
    while _calls(link, wrapper):
        link = link.__wrapped__
    return link


def _take_out(owner: type[Any], name: str, wrapper: Wrapper) -> None:
    """Removes our wrapper from an attribute, also from between other wrapt wrappers."""
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
    found = {root}
    waiting = [root]
    while waiting:
        owner = waiting.pop()
        yield owner
        for child in owner.__subclasses__():
            if child not in found:
                found.add(child)
                waiting.append(child)
