"""Writes the rows of a FOCUS dataset to a file: CSV, or Parquet with the types of the specification."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from openai_meter.errors import ConfigurationError
from openai_meter.ledger.billing.focus import Column
from openai_meter.ledger.parquet import load_pyarrow

__all__ = ["FORMS", "check_form", "form_of"]

Rows = Iterable[tuple[Any, ...]]
_BATCH = 10_000


def form_of(path: str | Path) -> str:
    """The form of a file by its suffix.

    Raises:
        ConfigurationError: no form has that suffix.
    """
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix not in FORMS:
        names = " or ".join(f".{name}" for name in FORMS)
        raise ConfigurationError(f"{str(path)!r} does not end with {names}; rename it, or pass the form")
    return suffix


def check_form(form: str) -> Callable[[Rows, tuple[Column, ...], BinaryIO], None]:
    """The function that writes a form.

    Raises:
        ConfigurationError: there is no such form.
        MissingExtraError: the package that it needs is not installed.
    """
    if form not in FORMS:
        raise ConfigurationError(f"format={form!r} is not a form of a FOCUS file; use one of {', '.join(FORMS)}")
    if form == "parquet":
        load_pyarrow()
    return FORMS[form]


def _write_csv(rows: Rows, columns: tuple[Column, ...], file: BinaryIO) -> None:
    """RFC 4180 in UTF-8 with a header. NULL is empty; numbers are written out, times end with ``Z``."""
    from openai_meter.reports.exports import cell  # noqa: PLC0415 - reports stand below the ledger

    forms: Mapping[str, Callable[[Any], str]] = {
        "decimal": lambda number: f"{number:f}",
        "time": lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "truth": lambda truth: "true" if truth else "false",
        "text": cell,
    }
    writers = [forms.get(column.kind, str) for column in columns]
    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
    writer = csv.writer(text)
    writer.writerow(column.name for column in columns)
    writer.writerows(
        ["" if value is None else write(value) for write, value in zip(writers, row, strict=True)] for row in rows
    )
    text.detach()  # flushes, and leaves the file open for the caller


def _write_parquet(rows: Rows, columns: tuple[Column, ...], file: BinaryIO) -> None:
    """Columns with types: amounts and quantities are decimal numbers with 18 places, JSON is text."""
    pyarrow = load_pyarrow()
    types = {
        "decimal": pyarrow.decimal128(38, 18),
        "time": pyarrow.timestamp("ms", tz="UTC"),
        "truth": pyarrow.bool_(),
        "whole": pyarrow.int64(),
    }
    schema = pyarrow.schema(
        [
            pyarrow.field(column.name, types.get(column.kind, pyarrow.string()), nullable=column.nullable)
            for column in columns
        ]
    )
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in _batches(rows):
            arrays = [list(map(_with_places, values)) for values in zip(*batch, strict=True)]
            writer.write_table(pyarrow.table(arrays, schema=schema))


def _batches(rows: Rows) -> Iterator[list[tuple[Any, ...]]]:
    rest = iter(rows)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _with_places(value: Any) -> Any:
    """A decimal number that Arrow accepts: it refuses an exponent above 0."""
    return value + Decimal("0.0") if isinstance(value, Decimal) else value


FORMS: Mapping[str, Callable[[Rows, tuple[Column, ...], BinaryIO], None]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
}
"""The forms of a FOCUS file, by the suffix of its name. To add one, add a row."""
