"""Which model of a ledger the name in a bill stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["Names"]

_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class Names:
    """The names of a bill, by those of a ledger.

    A name that the ledger has stands for itself. A snapshot stands for the model without its date where the ledger has
    only that, and a model without a date for the one snapshot that the ledger has of it.
    """

    def __init__(self, metered: Iterable[str]) -> None:
        self._metered = set(metered)
        self._snapshots: dict[str, list[str]] = {}
        for name in self._metered:
            self._snapshots.setdefault(_stem(name), []).append(name)

    def model(self, name: str | None) -> str | None:
        """The name that the ledger has for a model of the bill; the same name where it has none."""
        if name is None or name in self._metered:
            return name
        stem = _stem(name)
        if stem in self._metered:
            return stem
        if name == stem and len(found := self._snapshots.get(stem, [])) == 1:
            return found[0]
        return name


def _stem(name: str) -> str:
    """The name without the date of a snapshot; of a fine-tuned model without its owner and id."""
    if name.startswith("ft:"):
        return "ft:" + name.split(":", 2)[1]
    return _DATED.sub("", name)
