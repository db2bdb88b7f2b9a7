"""What openai_meter raises, and to whom: always where the user calls openai_meter, never inside a metered call.

::

    MeterError
    ├── ConfigurationError (ValueError)   a setting that cannot be used
    └── UnsupportedClientError (TypeError)   something that is no openai client was given to wrap()
"""

from __future__ import annotations

__all__ = ["ConfigurationError", "MeterError", "UnsupportedClientError"]


class MeterError(Exception):
    """The root of everything that openai_meter raises."""


class ConfigurationError(MeterError, ValueError):
    """A setting has a value that cannot be used; the message names the setting, the value and what would do."""


class UnsupportedClientError(MeterError, TypeError):
    """The object given to ``wrap()`` is not a client of the openai package."""
