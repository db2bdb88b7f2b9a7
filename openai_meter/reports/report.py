"""Reports: the figures, and the ways to show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO

from openai_meter.core.formatting import printable
from openai_meter.core.public import public
from openai_meter.core.totals import Totals, Unpriced
from openai_meter.reports.data import PERIODS, REPORTS, ReportData, Row, arranged, dimensions

__all__ = [
    "PERIODS",
    "REPORTS",
    "Report",
    "ReportSnapshot",
    "ReportSource",
    "Row",
    "arranged",
    "dimensions",
    "make",
    "of_snapshot",
]


class ReportSnapshot(Protocol):
    """All figures of one moment, of a meter or a block."""

    @property
    def started_at(self) -> datetime:
        """Since when calls are counted."""

    @property
    def totals(self) -> Totals:
        """The totals over all calls."""

    @property
    def overflow_calls(self) -> int:
        """How many calls share a row of others."""

    @property
    def unpriced(self) -> tuple[Unpriced, ...]:
        """What has no full price."""

    @property
    def alerts(self) -> tuple[Any, ...]:
        """The thresholds that are exceeded."""

    def by(self, *names: str, fold_snapshots: bool = False) -> Mapping[tuple[str, ...], Totals]:
        """The totals by tuples of values of some dimensions, snapshots in the row of their model if they are folded."""


class ReportSource(Protocol):
    """What a report is made of: a meter or a block."""

    @property
    def pending(self) -> tuple[Any, ...]:
        """Calls that have begun and not ended."""

    @property
    def meter(self) -> Any:
        """The meter."""

    def snapshot(self) -> ReportSnapshot:
        """All figures of one moment."""


@public
@dataclass(frozen=True, slots=True)
class Report(ReportData):
    """Totals by some dimensions, as they were at one moment; the rows sum up to ``totals``. Immutable."""

    def __repr__(self) -> str:
        by = ", ".join(map(printable, self.dimensions))
        return f"<Report by {by}: {len(self.rows)} row{'s' * (len(self.rows) != 1)}, {self.totals}>"

    def __str__(self) -> str:
        """The report as a table, in the language of the environment."""
        return self.render().strip("\n")

    def render(self, format: str = "table", *, lang: str | None = None) -> str:  # noqa: A002
        """The report as text, without a line break at its end.

        Args:
            format: ``table``, ``tree``, ``markdown`` (a table), ``chat``, ``line``, ``json`` or
                ``csv``.
            lang: ``en`` or ``fr``; by default ``OPENAI_METER_LANG``, else the locale, else English. ``json`` and
                ``csv`` are the same in all languages.

        Raises:
            ConfigurationError: there is no such format or language.
        """
        from openai_meter.reports import renderers  # noqa: PLC0415 - renderers know reports, not the other way round

        return renderers.render(self, format, lang)

    def print(
        self,
        file: TextIO | None = None,
        *,
        format: str = "table",  # noqa: A002
        lang: str | None = None,
        excel: bool = False,
    ) -> None:
        """Prints the report: in colour and no wider than it on a terminal, plain elsewhere.

        Characters that the file's encoding lacks are replaced by others.

        Args:
            file: where to; standard output by default.
            format: as for :meth:`render`.
            lang: as for :meth:`render`.
            excel: as for :meth:`save`.

        Raises:
            ConfigurationError: there is no such format or language.
        """
        from openai_meter.reports import renderers  # noqa: PLC0415

        renderers.print_report(self, file, format, lang, excel=excel)

    def save(
        self,
        path: str | Path,
        *,
        format: str | None = None,  # noqa: A002
        lang: str | None = None,
        excel: bool = False,
    ) -> Path:
        """Writes the report to a file, whole or not at all, and makes the folders on the way to it.

        Args:
            path: the file; the format is that of its suffix: ``.json``, ``.csv``, ``.md`` or ``.txt`` (a table).
            format: as for :meth:`render`, whatever the suffix is.
            lang: as for :meth:`render`.
            excel: CSV as Excel opens it: with a byte order mark, and the separator and decimal sign of the language.

        Returns:
            The absolute path of the file.

        Raises:
            ConfigurationError: the path is a folder, or its suffix is not that of a format; or there is no such
                format or language.
            OSError: the file cannot be written; the message contains the path and the remedy.
        """
        from openai_meter.reports import saving  # noqa: PLC0415

        return saving.save(self, path, format, lang, excel=excel)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:  # noqa: ARG002
        """What a notebook shows of it: an HTML table, or text where there is no HTML."""
        from openai_meter.core.locale import language  # noqa: PLC0415
        from openai_meter.reports import html  # noqa: PLC0415

        return {"text/plain": self.render().strip("\n"), "text/html": html.as_html(self, language())}


def make(
    source: ReportSource, by: str | Iterable[str] = "model", lang: str | None = None, *, fold_snapshots: bool = False
) -> Report:
    """The report on what a meter or a block has counted until now.

    Args:
        source: the meter or the block.
        by: what to group by; see :func:`dimensions`.
        lang: the language of the alerts.
        fold_snapshots: whether the calls of a model's dated snapshots are in the row of the model.

    Raises:
        ConfigurationError: there is no such dimension or language.
    """
    return of_snapshot(source, source.snapshot(), dimensions(by), lang, fold_snapshots=fold_snapshots)


def of_snapshot(
    source: ReportSource,
    snapshot: ReportSnapshot,
    names: tuple[str, ...],
    lang: str | None,
    *,
    fold_snapshots: bool = False,
) -> Report:
    """The report on a snapshot that was taken before, so that it agrees with other figures of the same moment.

    Raises:
        ConfigurationError: there is no such dimension or language.
    """
    return Report(
        dimensions=names,
        rows=arranged(snapshot.by(*names, fold_snapshots=fold_snapshots), names),
        totals=snapshot.totals,
        since=snapshot.started_at,
        until=datetime.now(UTC),
        name=getattr(source, "name", None),
        pending=len(source.pending),
        internal_errors=source.meter.internal_errors,
        overflow_calls=snapshot.overflow_calls,
        unpriced=snapshot.unpriced,
        alerts=tuple(alert.message(lang) for alert in snapshot.alerts),
    )
