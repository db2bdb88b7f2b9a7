"""The modules of earlier versions, for pickles: a pickle names the module that the class had when it was written.

Only :func:`install`, which adds a finder at the end of ``sys.meta_path``, runs when the package is imported. To keep
the pickles of a class that moves, add a row to :data:`_MOVED`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["install", "moved"]

_MOVED = {
    "advice.values": "Recommendation=reports.advice.recommendation",
    "call": "Call=core.call",
    "estimates.api": "Quote=pricing.quotes",
    "estimates.values": "Estimate=usage.estimation",
    "evidence": "Evidence=core.evidence",
    "money": "Cost=core.money",
    "prices.values": "CostLine=core.money Deployment=pricing.types Price=pricing.types",
    "pulse.values": "Group=metering.pulse.types Pulse=metering.pulse.types Rates=metering.pulse.types",
    "reports.values": "Report=reports.report Row=reports.data",
    "services": "ModelStats=reports.model_stats",
    "store": "Unpriced=core.totals",
    "sums": "Sum=core.totals Totals=core.totals",
    "thresholds.values": "Alert=alerts.alert Burn=alerts.threshold:ThresholdUsage Threshold=alerts.threshold",
    "usage": "Usage=core.usage",
    "vocabulary": "Status=usage.estimation.encodings",
    "webhook.values": "Deliveries=alerts.webhook.config:WebhookStats Webhook=alerts.webhook.config",
}
"""Old modules, and of each: its classes, the modules that have them now, and their names there if those changed."""

_PACKAGE = __name__.partition(".")[0]
_PARENTS = frozenset(name.partition(".")[0] for name in _MOVED if "." in name)


def moved(module: str, name: str) -> Any:
    """The object that a module of an earlier version had under a name.

    Raises:
        AttributeError: it had none, or none that is kept.
    """
    for row in _MOVED.get(module, "").split():
        old, _, place = row.partition("=")
        if old == name:
            where, _, now = place.partition(":")
            return getattr(import_module(f"{_PACKAGE}.{where}"), now or name)
    raise AttributeError(f"module '{_PACKAGE}.{module}' has no attribute {name!r}")


class _Loader:
    """Makes a module that looks its names up in the modules that have them now."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return ModuleType(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__.removeprefix(f"{_PACKAGE}.")
        vars(module)["__getattr__"] = lambda name: moved(old, name)


_LOADER: Any = _Loader()


class _Finder:
    """Finds the modules of earlier versions, after all others: where there is such a module now, it is that one."""

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        package, _, old = name.partition(".")
        if package != _PACKAGE or not (old in _MOVED or old in _PARENTS):
            return None
        return ModuleSpec(name, _LOADER, is_package=old in _PARENTS)


def install() -> None:
    """Lets the modules of earlier versions be imported. To be called once."""
    finder: Any = _Finder()
    sys.meta_path.append(finder)
