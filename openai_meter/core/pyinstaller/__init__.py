"""Tells PyInstaller what to pack: it finds this function by the entry point ``pyinstaller40`` of the distribution."""

from __future__ import annotations

import os

__all__ = ["hook_dirs"]


def hook_dirs() -> list[str]:
    """The folder of ``hook-openai_meter.py``."""
    return [os.path.dirname(__file__)]
