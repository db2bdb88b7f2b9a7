"""Counts every OpenAI call of a Python program exactly once, without a change to the code around it.

::

    import openai_meter

    openai_meter.install()                        # every client of the process
    client = openai_meter.wrap(OpenAI())          # or one client
    with openai_meter.track("nightly") as run:    # or a part of the program
        ...
    run.print_summary()

(PYTEST_DONT_REWRITE: else pytest warns of its plugin where the meter was there before, as under ``openai-meter run``.)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from openai_meter.core import old_names

if TYPE_CHECKING:
    from openai_meter.alerts import Alert, Threshold
    from openai_meter.alerts.webhook import Webhook, WebhookStats
    from openai_meter.api import budget, get_meter, install, track, uninstall, wrap
    from openai_meter.budgets import Budget, BudgetStatus, BudgetView
    from openai_meter.core.call import Call
    from openai_meter.core.totals import Totals
    from openai_meter.core.usage import Usage
    from openai_meter.core.version import __version__
    from openai_meter.errors import (
        BillingError,
        ConfigurationError,
        LedgerError,
        LedgerUnavailableError,
        MeterError,
        MissingExtraError,
        UnsupportedClientError,
    )
    from openai_meter.instrumentation.budget_error import BudgetExceededError
    from openai_meter.ledger import Ledger
    from openai_meter.metering.attribution import bind, tag
    from openai_meter.metering.meter import Block, Meter
    from openai_meter.pricing import CostLine, Deployment, Price, PriceBook
    from openai_meter.pricing.answers import CallCost, cost
    from openai_meter.pricing.quotes import Quote, estimate, load_encodings, quote
    from openai_meter.reports.advice import Recommendation
    from openai_meter.reports.model_stats import ModelStats
    from openai_meter.reports.report import Report
    from openai_meter.tracker import TokenTracker, get_global_tracker
    from openai_meter.usage.estimation import Estimate, estimate_tokens


__all__ = [
    "Alert",
    "BillingError",
    "Block",
    "Budget",
    "BudgetExceededError",
    "BudgetStatus",
    "BudgetView",
    "Call",
    "CallCost",
    "ConfigurationError",
    "CostLine",
    "Deployment",
    "Estimate",
    "Ledger",
    "LedgerError",
    "LedgerUnavailableError",
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
    "Webhook",
    "WebhookStats",
    "__version__",
    "bind",
    "budget",
    "cost",
    "estimate",
    "estimate_tokens",
    "get_global_tracker",
    "get_meter",
    "install",
    "load_encodings",
    "quote",
    "tag",
    "track",
    "uninstall",
    "wrap",
]

# Loaded when first used: pytest, and every interpreter that might be metered, import the package.
_PLACES = {
    "core.version": "__version__",
    "reports.advice": "Recommendation",
    "core.call": "Call",
    "errors": "BillingError ConfigurationError LedgerError LedgerUnavailableError MeterError MissingExtraError "
    "UnsupportedClientError",
    "usage.estimation": "Estimate estimate_tokens",
    "pricing.answers": "CallCost cost",
    "pricing.quotes": "Quote estimate load_encodings quote",
    "api": "budget get_meter install track uninstall wrap",
    "budgets": "Budget BudgetStatus BudgetView",
    "instrumentation.budget_error": "BudgetExceededError",
    "ledger": "Ledger",
    "metering.meter": "Block Meter",
    "notebook": "load_ipython_extension unload_ipython_extension",
    "pricing": "CostLine Deployment Price PriceBook",
    "reports.report": "Report",
    "metering.attribution": "bind tag",
    "reports.model_stats": "ModelStats",
    "core.totals": "Totals",
    "alerts": "Alert Threshold",
    "tracker": "TokenTracker get_global_tracker",
    "core.usage": "Usage",
    "alerts.webhook": "WebhookStats Webhook",
}
_LATE = {name: module for module, names in _PLACES.items() for name in names.split()}

_RENAMED = {"Deliveries": "WebhookStats", "LedgerAwayError": "LedgerUnavailableError", "warm": "load_encodings"}
"""Old public names, and what they are called now. They are kept for one version."""

_MODULES = frozenset({"actions", "doctor", "otel", "prometheus", "server", "testing"})
"""What is there as ``openai_meter.server`` and the like without an import of its own."""


old_names.install()


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"openai_meter.{name}")
    if name in _RENAMED:
        from openai_meter.core.deprecation import warn_renamed  # noqa: PLC0415 - new programs never need it

        warn_renamed(f"openai_meter.{name}", f"openai_meter.{_RENAMED[name]}")
        return __getattr__(_RENAMED[name])
    if name in _LATE:
        value = globals()[name] = getattr(import_module(f"openai_meter.{_LATE[name]}"), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE, *_MODULES})
