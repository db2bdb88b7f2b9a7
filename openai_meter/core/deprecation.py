"""Warnings for public names that have changed. The old name works for one version."""

from __future__ import annotations

import warnings
from typing import Any

__all__ = ["renamed", "warn_renamed"]


def warn_renamed(old: str, new: str, *, level: int = 3) -> None:
    """Warns that a public name has changed.

    Args:
        old: the old name, as the program writes it.
        new: the new one.
        level: the frame that the warning names: 3 is the caller of the function that calls this.
    """
    warnings.warn(f"{old} is now called {new}; the old name will be removed", DeprecationWarning, stacklevel=level)


def renamed(owner: str, old: str, new: str) -> Any:
    """The old name of a property or method, for the body of the class that has it.

    Args:
        owner: the class, as programs name it.
        old: the old name.
        new: the new one.
    """

    def get(instance: object) -> Any:
        warn_renamed(f"{owner}.{old}", f"{owner}.{new}")
        return getattr(instance, new)

    return property(get, doc=f"The old name of :attr:`{new}`.")
