"""The reports of a meter and a block. Other modules of ``reports`` are loaded only when a report is made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from openai_meter.reports.report import Report, ReportSource

__all__ = ["Reporting"]


class Reporting:
    """The part of ``Readable`` that shows. Every report is of one moment, and may be made in any thread."""

    def summary(self, *, lang: str | None = None) -> str:
        """One line: calls, tokens, cost, errors. For logs and prompts.

        Args:
            lang: ``en`` or ``fr``; by default ``OPENAI_METER_LANG``, else the locale, else English.

        Raises:
            ConfigurationError: there is no such language.
        """
        from openai_meter.core.locale import language  # noqa: PLC0415 - reading must not cost the import anything
        from openai_meter.reports import lines  # noqa: PLC0415

        return lines.compact(self.report(), language(lang))

    def report(
        self, by: str | Iterable[str] = "model", *, lang: str | None = None, fold_snapshots: bool = False
    ) -> Report:
        """The calls that were counted until now, as a value that can be rendered, printed, saved, or sent as JSON.

        Args:
            by: a dimension, or several (``"agent,model"`` or ``("agent", "model")``).
            lang: the language of the alerts in it; all other texts are chosen when it is rendered.
            fold_snapshots: whether the calls of a model's dated snapshots are in the row of the model.

        Raises:
            ConfigurationError: there is no such dimension or language.
        """
        from openai_meter.reports import report as values  # noqa: PLC0415

        return values.make(cast("ReportSource", self), by, lang, fold_snapshots=fold_snapshots)

    def print_summary(
        self,
        file: TextIO | None = None,
        *,
        by: str | Iterable[str] = "model",
        format: str = "table",  # noqa: A002
        lang: str | None = None,
    ) -> None:
        """Prints calls, tokens and costs: a table, or another form of report.

        In colour and as wide as the terminal on one, plain elsewhere.

        Args:
            file: where to; standard output by default.
            by: a dimension, or several (``"agent,model"`` or ``("agent", "model")``).
            format: ``table``, ``tree``, ``markdown`` (a table), ``chat``, ``line``, ``json`` or
                ``csv``.
            lang: ``en`` or ``fr``; by default ``OPENAI_METER_LANG``, else the locale, else English.

        Raises:
            ConfigurationError: there is no such dimension, format or language.
        """
        self.report(by, lang=lang).print(file, format=format, lang=lang)

    def save_report(
        self,
        path: str | Path,
        *,
        by: str | Iterable[str] = "model",
        format: str | None = None,  # noqa: A002
        lang: str | None = None,
        excel: bool = False,
    ) -> Path:
        """Writes a report to a file, whole or not at all, and makes the folders on the way to it.

        Args:
            path: the file; the format is that of its suffix: ``.json``, ``.csv``, ``.md`` or ``.txt`` (a table).
            by: as for :meth:`print_summary`.
            format: as for :meth:`print_summary`, whatever the suffix is.
            lang: as for :meth:`print_summary`.
            excel: CSV as Excel opens it: with a byte order mark, and the separator and decimal sign of the language.

        Returns:
            The absolute path of the file.

        Raises:
            ConfigurationError: there is no such dimension, format or language; the path is a folder, or its suffix is
                not that of a format.
            OSError: the file cannot be written.
        """
        return self.report(by, lang=lang).save(path, format=format, lang=lang, excel=excel)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows of it: the report by model."""
        return self.report()._repr_mimebundle_(include, exclude)

    def to_dict(self, by: str | Iterable[str] = "model") -> dict[str, Any]:
        """Everything that :meth:`print_summary` shows, as plain JSON values."""
        return self.report(by).to_dict()
