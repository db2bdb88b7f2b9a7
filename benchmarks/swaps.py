"""What a package has patched of the SDK, found by comparing, and swapped out and in whoever did it and however.

Few packages can undo what they have patched, and none many times over; so nobody is asked to.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

PATCHED = ("openai", "httpx", "httpx2")
"""The packages that a call passes, and so whose modules and classes are looked at for patches."""
_LATE = ("__pydantic_", "__signature__")
_ABSENT = object()


def _places() -> Iterator[object]:
    """Every module and class of these packages."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in PATCHED and isinstance(module, ModuleType):
            yield module
            for value in list(vars(module).values()):
                if isinstance(value, type) and value.__module__.partition(".")[0] in PATCHED:
                    yield value


class Snapshot:
    """The attributes of the SDK's modules and classes as they are."""

    def __init__(self) -> None:
        self.kept = {id(place): (place, dict(vars(place))) for place in _places()}

    def changes(self) -> Patches:
        """What has been patched since. Modules that were not there yet are left as they are."""
        found = []
        for place, before in self.kept.values():
            now = vars(place)
            for name in {*before, *now}:
                old, new = before.get(name, _ABSENT), now.get(name, _ABSENT)
                # What pydantic makes when it is first needed and what is imported is no patch.
                if old is not new and not name.startswith(_LATE) and not isinstance(new, ModuleType):
                    found.append(Patch(place, name, old, new))
        return Patches(found)


class Patch(NamedTuple):
    """One attribute that was changed."""

    place: Any
    name: str
    old: Any
    new: Any


class Patches(list[Patch]):
    """What a way has patched, all of it."""

    def swap(self, *, out: bool) -> None:
        """Puts the SDK back as it was before, or the patches in again; the identical objects each time."""
        for place, name, old, new in self:
            value = old if out else new
            if value is _ABSENT:
                delattr(place, name)
            else:
                setattr(place, name, value)
