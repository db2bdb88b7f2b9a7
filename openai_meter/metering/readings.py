"""What the parts of a meter know of the whole; for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from openai_meter.alerts import Alert
    from openai_meter.core.totals import Totals
    from openai_meter.reports.advice import Recommendation
    from openai_meter.reports.mixin import Reporting as _Base
else:
    _Base = object


class Counted(_Base):
    """The reading surface that mixins of the meter build on."""

    if TYPE_CHECKING:

        @overload
        def by(self, dimension: str, /) -> Mapping[str, Totals]: ...
        @overload
        def by(self, *dimensions: str) -> Mapping[tuple[str, ...], Totals]: ...
        def by(self, *dimensions: str) -> Mapping[Any, Totals]:
            """The totals for each value of a dimension, or of several."""

        @property
        def meter(self) -> Any:
            """The meter."""

        @property
        def alerts(self) -> tuple[Alert, ...]:
            """The thresholds that are exceeded now."""

        def recommendations(self) -> tuple[Recommendation, ...]:
            """What would save tokens or money."""

        def reset(self) -> Totals:
            """Starts again from zero."""
