"""The hooks by which PyInstaller packs our data: the entry point ``pyinstaller40`` names the function."""

from __future__ import annotations

import os

__all__ = ["hook_dirs"]


def hook_dirs() -> list[str]:
    """The folder of ``hook-openai_meter.py``."""
    return [os.path.dirname(__file__)]
