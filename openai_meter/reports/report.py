"""Reports: what is to be shown, and the ways to show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO

from openai_meter.core.totals import Totals, Unpriced
from openai_meter.reports.data import PERIODS, REPORTS, ReportData, Row, arranged, dimensions

__all__ = ["PERIODS", "REPORTS", "Report", "ReportSource", "Row", "arranged", "dimensions", "make"]


class ReportSource(Protocol):
    """What a report is made of: a meter or a block."""

    started_at: datetime
    pending: tuple[Any, ...]
    meter: Any
    overflow_calls: int
    alerts: tuple[Any, ...]

    def snapshot(self, *dimensions: str) -> tuple[Totals, Mapping[tuple[str, ...], Totals]]:
        """The totals and the groups of one moment."""

    def unpriced(self) -> tuple[Unpriced, ...]:
        """What has no full price."""


@dataclass(frozen=True, slots=True)
class Report(ReportData):
    """Totals by some dimensions, as they were at one moment; the rows sum up to ``totals``. Immutable."""

    def render(self, format: str = "table", *, lang: str | None = None) -> str:  # noqa: A002
        """The report as text, without a line break at its end.

        Args:
            format: ``table``, ``tree``, ``markdown``, ``line``, ``json`` or ``csv``.
            lang: ``en`` or ``fr``; by default ``OPENAI_METER_LANG``, else the locale, else English. ``json`` and
                ``csv`` are the same in all languages.

        Raises:
            ConfigurationError: there is no such format or language.
        """
        from openai_meter.reports import renderers  # noqa: PLC0415 - renderers know reports, not the other way round

        return renderers.render(self, format, lang)

    def print(self, file: TextIO | None = None, *, format: str = "table", lang: str | None = None) -> None:  # noqa: A002
        """Prints the report: in colour and no wider than it on a terminal, plain elsewhere.

        Characters that the file's encoding lacks are replaced by others.

        Args:
            file: where to; standard output by default.
            format: as for :meth:`render`.
            lang: as for :meth:`render`.

        Raises:
            ConfigurationError: there is no such format or language.
        """
        from openai_meter.reports import renderers  # noqa: PLC0415

        renderers.print_report(self, file, format, lang)

    def save(self, path: str | Path, *, format: str | None = None, lang: str | None = None) -> Path:  # noqa: A002
        """Writes the report to a file, whole or not at all, and makes the folders on the way to it.

        Args:
            path: the file; the format is that of its suffix: ``.json``, ``.csv``, ``.md`` or ``.txt`` (a table).
            format: as for :meth:`render`, whatever the suffix is.
            lang: as for :meth:`render`.

        Returns:
            The absolute path of the file.

        Raises:
            ConfigurationError: the path is a folder, or its suffix is not that of a format; or there is no such
                format or language.
            OSError: the file cannot be written; the message contains the path and the remedy.
        """
        from openai_meter.reports import saving  # noqa: PLC0415

        return saving.save(self, path, format, lang)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        """What a notebook shows of it: an HTML table, or text where there is no HTML."""
        from openai_meter.core.locale import language  # noqa: PLC0415
        from openai_meter.reports import html  # noqa: PLC0415

        return {"text/plain": self.render().strip("\n"), "text/html": html.as_html(self, language())}


def make(readings: ReportSource, by: str | Iterable[str] = "model", lang: str | None = None) -> Report:
    """The report on what a meter or a block has counted until now.

    Args:
        readings: the meter or the block.
        by: what to group by; see :func:`dimensions`.
        lang: the language of the alerts.

    Raises:
        ConfigurationError: there is no such dimension or language.
    """
    names = dimensions(by)
    totals, groups = readings.snapshot(*names)
    return Report(
        dimensions=names,
        rows=arranged(groups, names),
        totals=totals,
        since=readings.started_at,
        until=datetime.now(UTC),
        name=getattr(readings, "name", None),
        pending=len(readings.pending),
        internal_errors=readings.meter.internal_errors,
        overflow_calls=readings.overflow_calls,
        unpriced=readings.unpriced(),
        alerts=tuple(alert.message(lang) for alert in readings.alerts),
    )
