"""The figures of a meter or a block, as a value of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from openai_meter.alerts import Alert, ThresholdUsage
from openai_meter.core import dimensions
from openai_meter.core.call import Call
from openai_meter.core.dimensions import Key
from openai_meter.core.totals import Sum, Totals, Unpriced, summed
from openai_meter.reports.model_stats import undated

__all__ = ["StoreSnapshot"]


@dataclass(frozen=True, slots=True)
class StoreSnapshot:
    """The figures of a meter or a block at one moment. Immutable; they agree with each other."""

    started_at: datetime
    """Since when calls are counted, in UTC."""
    sums: Mapping[Key, Sum]
    """The sum of every combination of dimensions; :meth:`by` groups them."""
    calls: tuple[Call, ...]
    """The most recent calls, oldest first."""
    unpriced: tuple[Unpriced, ...]
    """What has no full price, per model and reason."""
    alerts: tuple[Alert, ...]
    """The thresholds that were exceeded, in the order in which that happened."""
    threshold_usage: tuple[ThresholdUsage, ...]
    """How far each threshold was used up."""

    @property
    def totals(self) -> Totals:
        """The totals over all calls."""
        return summed(self.sums.values()).totals()

    @property
    def overflow_calls(self) -> int:
        """How many calls share a row of others in some dimension."""
        return dimensions.overflow_calls(self.sums)

    def by(self, *names: str, fold_snapshots: bool = False) -> Mapping[tuple[str, ...], Totals]:
        """The totals by tuples of values of some dimensions; they sum up to :attr:`totals`.

        Args:
            names: the dimensions.
            fold_snapshots: whether the calls of a model's dated snapshots are in the row of the model.

        Raises:
            ConfigurationError: there is no such dimension.
        """
        labels = dimensions.checked(names)
        if fold_snapshots:
            labels = tuple(
                _undated_label(label) if name == "model" else label for name, label in zip(names, labels, strict=True)
            )
        return dimensions.breakdown(self.sums, labels)


def _undated_label(label: dimensions.Label) -> dimensions.Label:
    return lambda key: undated(label(key))
