"""Reports for other programs: JSON and CSV. They are the same in every language, and hold names whole."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

from openai_meter.core.locale import Messages
from openai_meter.core.totals import Totals
from openai_meter.core.usage import COUNTS
from openai_meter.reports.data import ReportData, Row

__all__ = ["BYTE_ORDER_MARK", "COLUMNS", "as_json", "cell", "csv_text", "excel_text", "json_text"]

BYTE_ORDER_MARK = "\ufeff"
"""The first character of a file for Excel, which reads it as UTF-8 by that."""

COLUMNS: tuple[str, ...] = (
    "calls",
    "errors",
    "unmeasured_calls",
    "estimated_calls",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    *COUNTS,
    "cost",
    "estimated_cost",
    "unpriced_calls",
    "first_call_at",
    "last_call_at",
    "retries",
)
"""The columns of a CSV file after the dimensions: the names are those of ``Totals``."""

_USED = frozenset({"input_tokens", "output_tokens", "total_tokens", *COUNTS})

# Characters that a terminal or an editor could take for a command, and lone surrogates, which no file can hold.
_UNSEEN = "\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_RISKY = re.compile(f"[{_UNSEEN}]")
# What makes a spreadsheet take a cell for a formula, in narrow and in wide characters.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")  # noqa: RUF001
_CONTROL = re.compile(f"[\x00-\x1f{_UNSEEN}]")


def json_text(report: ReportData, _: Messages) -> str:
    """The report as JSON, with all that :meth:`Report.to_dict` gives."""
    return as_json(report.to_dict())


def as_json(data: Any, encoding: str = "utf-8") -> str:
    """JSON that any file of that encoding can hold and any terminal can show: the rest is escaped."""
    text = _RISKY.sub(_escape, json.dumps(data, indent=2, ensure_ascii=False))
    try:
        text.encode(encoding)
    except (UnicodeError, LookupError):
        return json.dumps(data, indent=2)
    return text


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def csv_text(report: ReportData, _: Messages) -> str:
    """The rows as CSV (RFC 4180), with a header and without a row of totals; what is unknown is empty.

    Numbers are numbers. A name that a spreadsheet would take for a formula has an apostrophe before it, and control
    characters in it are replaced.
    """
    return _csv(report, ",", ".")


def excel_text(report: ReportData, m: Messages) -> str:
    """The same rows for Excel: with a byte order mark, and the separator and the decimal sign of a language.

    Without the mark, Excel on Windows reads the file as Windows-1252; with another separator than that of its locale,
    it puts each row into one cell.
    """
    return BYTE_ORDER_MARK + _csv(report, m("csv.separator"), m("csv.decimal"))


def _csv(report: ReportData, separator: str, decimal: str) -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    writer.writerow([cell(name) for name in (*report.dimensions, *COLUMNS)])
    writer.writerows(_cells(row, decimal) for row in report.rows)
    return file.getvalue().removesuffix("\r\n")


def _cells(row: Row, decimal: str) -> list[str]:
    numbers = [_number(name, row.totals) for name in COLUMNS]
    if decimal != ".":
        pairs = zip(COLUMNS, numbers, strict=True)
        numbers = [text if name.endswith("_at") else text.replace(".", decimal) for name, text in pairs]
    return [*(cell(value) for value in row.key), *numbers]


def cell(text: str) -> str:
    """A name as a cell of a CSV file: no formula to a spreadsheet, and without control characters."""
    visible = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return f"'{visible}" if _FORMULA.match(text) else visible


def _number(name: str, totals: Totals) -> str:
    """A count, an amount or a time as a cell."""
    value = getattr(totals, name)
    if value is None or (name in _USED and not value and totals.unmeasured_calls):
        return ""
    if name in {"cost", "estimated_cost"}:
        return f"{value:f}"
    return value.isoformat() if name.endswith("_at") else str(value)
