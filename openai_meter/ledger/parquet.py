"""The package that writes Parquet files: an extra, which most programs do without."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from openai_meter.core.version import install_command
from openai_meter.errors import MissingExtraError

__all__ = ["load_pyarrow"]


def load_pyarrow() -> Any:
    """Imports ``pyarrow`` with its Parquet module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError(f"Parquet needs pyarrow; install it with: {install_command('parquet')}") from None
    return import_module("pyarrow")
