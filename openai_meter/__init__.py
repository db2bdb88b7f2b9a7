"""Counts every OpenAI call of a Python program exactly once, without a change to the code around it.

::

    import openai_meter

    openai_meter.install()                        # every client of the process
    client = openai_meter.wrap(OpenAI())          # or one client
    with openai_meter.track("nightly") as run:    # or a stretch of the program
        ...
    run.print_summary()
"""

from openai_meter.call import Call
from openai_meter.errors import ConfigurationError, MeterError, UnsupportedClientError
from openai_meter.intercept import get_meter, install, track, uninstall, wrap
from openai_meter.meter import Block, Meter
from openai_meter.store import Totals
from openai_meter.usage import Usage

__version__ = "0.1.0"

__all__ = [
    "Block",
    "Call",
    "ConfigurationError",
    "Meter",
    "MeterError",
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
