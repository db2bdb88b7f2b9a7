"""Warnings for public names that have changed. The old name works for one version."""

from __future__ import annotations

import warnings

__all__ = ["warn_renamed"]


def warn_renamed(old: str, new: str, *, level: int = 3) -> None:
    """Warns that a public name has changed.

    Args:
        old: the old name, as the program writes it.
        new: the new one.
        level: the frame that the warning names: 3 is the caller of the function that calls this.
    """
    warnings.warn(f"{old} is now called {new}; the old name will be removed", DeprecationWarning, stacklevel=level)
