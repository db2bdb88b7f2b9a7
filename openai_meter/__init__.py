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
from openai_meter.errors import ConfigurationError, MeterError, UnsupportedClientError
from openai_meter.intercept import get_meter, install, track, uninstall, wrap
from openai_meter.meter import Block, Meter
from openai_meter.store import Totals
from openai_meter.usage import Usage

if TYPE_CHECKING:
    from openai_meter.prices import CostLine, Deployment, Price, PriceBook

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Call",
    "ConfigurationError",
    "CostLine",
    "Deployment",
    "Meter",
    "MeterError",
    "Price",
    "PriceBook",
    "Totals",
    "UnsupportedClientError",
    "Usage",
    "__version__",
    "get_meter",
    "install",
    "track",
    "uninstall",
    "wrap",
]

# Prices are only loaded where something is priced.
_LATE = dict.fromkeys(("CostLine", "Deployment", "Price", "PriceBook"), "openai_meter.prices")


def __getattr__(name: str) -> object:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
