"""Counts every OpenAI call of a Python program exactly once, without a change to the code around it.

::

    import openai_meter

    openai_meter.install()                        # every client of the process
    client = openai_meter.wrap(OpenAI())          # or one client
    with openai_meter.track("nightly") as run:    # or a stretch of the program
        ...
    run.print_summary()
"""

from importlib import import_module
from typing import TYPE_CHECKING

from openai_meter.call import Call
from openai_meter.errors import (
    ConfigurationError,
    LedgerAwayError,
    LedgerError,
    MeterError,
    MissingExtraError,
    UnsupportedClientError,
)
from openai_meter.intercept import get_meter, install, track, uninstall, wrap
from openai_meter.meter import Block, Meter
from openai_meter.scope import bind, tag
from openai_meter.store import Totals
from openai_meter.thresholds import Alert, Threshold
from openai_meter.usage import Usage

if TYPE_CHECKING:
    from openai_meter.advice import Recommendation
    from openai_meter.estimates import Estimate, Quote, estimate, estimate_tokens, warm
    from openai_meter.ledger import Ledger
    from openai_meter.prices import CostLine, Deployment, Price, PriceBook
    from openai_meter.reports.values import Report
    from openai_meter.services import ModelStats
    from openai_meter.tracker import TokenTracker, get_global_tracker

__version__ = "0.1.0"

__all__ = [
    "Alert",
    "Block",
    "Call",
    "ConfigurationError",
    "CostLine",
    "Deployment",
    "Estimate",
    "Ledger",
    "LedgerAwayError",
    "LedgerError",
    "Meter",
    "MeterError",
    "MissingExtraError",
    "ModelStats",
    "Price",
    "PriceBook",
    "Quote",
    "Recommendation",
    "Report",
    "Threshold",
    "TokenTracker",
    "Totals",
    "UnsupportedClientError",
    "Usage",
    "__version__",
    "bind",
    "estimate",
    "estimate_tokens",
    "get_global_tracker",
    "get_meter",
    "install",
    "tag",
    "track",
    "uninstall",
    "warm",
    "wrap",
]

# What takes time to load is loaded by whoever asks for it.
_LATE = {
    **dict.fromkeys(("Estimate", "Quote", "estimate", "estimate_tokens", "warm"), "openai_meter.estimates"),
    **dict.fromkeys(("CostLine", "Deployment", "Price", "PriceBook"), "openai_meter.prices"),
    **dict.fromkeys(("TokenTracker", "get_global_tracker"), "openai_meter.tracker"),
    "Ledger": "openai_meter.ledger",
    "ModelStats": "openai_meter.services",
    "Recommendation": "openai_meter.advice",
    "Report": "openai_meter.reports.values",
}


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
