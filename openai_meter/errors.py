"""The exceptions of openai_meter. Only BudgetExceededError is raised by a metered call.

::

    MeterError
    ├── BillingError   OpenAI's usage or costs of the organization cannot be read
    ├── BudgetExceededError (openai.OpenAIError)   a budget does not admit a call; see instrumentation/budget_error.py
    ├── ConfigurationError (ValueError)   a setting that cannot be used
    ├── LedgerError   a ledger that cannot be used
    │   └── LedgerUnavailableError   its database cannot be reached now
    ├── MissingExtraError (ImportError)   a package that has to be installed first
    └── UnsupportedClientError (TypeError)   wrap() got something else than a client
"""

from __future__ import annotations

__all__ = [
    "BillingError",
    "ConfigurationError",
    "LedgerError",
    "LedgerUnavailableError",
    "MeterError",
    "MissingExtraError",
    "UnsupportedClientError",
]


class MeterError(Exception):
    """The root of everything that openai_meter raises."""

    __module__ = "openai_meter"


class ConfigurationError(MeterError, ValueError):
    """A setting has a value that cannot be used; the message names the setting, the value and the valid ones."""

    __module__ = "openai_meter"


class BillingError(MeterError):
    """OpenAI's usage or costs of an organization cannot be read; the message names the missing permission, if any."""

    __module__ = "openai_meter"


class LedgerError(MeterError):
    """The tables of a ledger cannot be used: they are of a newer version, or of something else."""

    __module__ = "openai_meter"


class LedgerUnavailableError(LedgerError):
    """The database of a ledger cannot be reached, or does not take anything now; later it may."""

    __module__ = "openai_meter"


def __getattr__(name: str) -> object:
    if name == "LedgerAwayError":  # the name of version 0.1, which its pickles have
        return LedgerUnavailableError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class MissingExtraError(MeterError, ImportError):
    """A package that is not installed is needed; the message is the line that installs it."""

    __module__ = "openai_meter"


class UnsupportedClientError(MeterError, TypeError):
    """The object given to ``wrap()`` is not a client of the openai package."""

    __module__ = "openai_meter"
