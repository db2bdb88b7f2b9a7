"""Calls for other programs, one row each, written as they come: CSV, JSON lines, Parquet, and litellm's spend log.

To add a form, add a row to :data:`FORMS`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from decimal import Context, Decimal
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

from openai_meter.core.call import Call
from openai_meter.core.locale import Messages
from openai_meter.core.usage import COUNTS
from openai_meter.errors import ConfigurationError
from openai_meter.ledger.parquet import load_pyarrow
from openai_meter.ledger.spend_logs import CALL_TYPES

__all__ = ["COLUMNS", "FORMS", "check", "export"]

_BATCH = 10_000
_ATTO = Decimal("1e-18")
# A context of our own: the host program may have set the global one to few digits.
_CONTEXT = Context(prec=60)

COLUMNS: tuple[str, ...] = (
    "id",
    "started_at",
    "duration",
    "time_to_first_token",
    "endpoint",
    "provider",
    "host",
    "model",
    "requested_model",
    "service_tier",
    "stream",
    "status",
    "error_type",
    "response_id",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    *COUNTS,
    "inconsistent",
    "usage_source",
    "usage_unknown",
    "cost",
    "cost_status",
    "cost_reason",
    "cost_estimated",
    "price_source",
    "agent",
    "operation",
    "user",
    "session",
    "tags",
    "block",
    "usage_rule",
    "attempts",
    "organization",
    "project",
    "request_id",
    "processing_ms",
    "remaining_requests",
    "remaining_tokens",
)
"""The columns of CSV and Parquet: the names are those of ``Call`` and ``Usage``."""

_OF_USAGE = frozenset({"input_tokens", "output_tokens", "total_tokens", "inconsistent", *COUNTS})
_WHOLE_NUMBERS = frozenset({*_OF_USAGE, "attempts", "processing_ms", "remaining_requests", "remaining_tokens"})
"""The columns that are whole numbers where they have no other type."""


def export(calls: Iterable[Call], form: str, file: BinaryIO, *, excel: Messages | None = None) -> int:
    """Writes calls to a file, with bounded memory.

    Args:
        calls: as :meth:`Ledger.calls` gives them.
        form: ``csv``, ``jsonl``, ``parquet`` or ``litellm``.
        file: open for writing bytes.
        excel: CSV is written as Excel opens it in this language.

    Returns:
        How many were written.

    Raises:
        ConfigurationError: there is no such form.
        MissingExtraError: the package that it needs is not installed.
    """
    write = check(form) if excel is None else excel_writer(excel)
    number = 0

    def counted() -> Iterator[Call]:
        nonlocal number
        for call in calls:
            number += 1
            yield call

    write(counted(), file)
    return number


def check(form: str) -> Callable[[Iterator[Call], BinaryIO], None]:
    """The function that writes that form.

    Raises:
        ConfigurationError: there is no such form.
        MissingExtraError: the package that it needs is not installed.
    """
    if form not in FORMS:
        raise ConfigurationError(f"format={form!r} is not a form of export; use one of {', '.join(FORMS)}")
    if form == "parquet":
        load_pyarrow()
    return FORMS[form]


def _value(call: Call, name: str) -> Any:
    return getattr(call.usage if name in _OF_USAGE else call, name)


# --- text -------------------------------------------------------------------------------------------------------------


def _write_csv(
    calls: Iterator[Call], file: BinaryIO, *, separator: str = ",", decimal: str = ".", mark: str = ""
) -> None:
    """RFC 4180, in UTF-8, with a header; what is unknown is empty, and no name is a formula to a spreadsheet."""
    from openai_meter.reports.exports import cell  # noqa: PLC0415 - reports stand below the ledger

    def cells(call: Call) -> Iterator[str]:
        for name in COLUMNS:
            value = _value(call, name)
            if value is None:
                yield ""
            elif isinstance(value, str):
                yield cell(value)
            else:
                written = _TEXTS.get(name, str)(value)
                yield cell(written) if name in _NAMES else written if name in _EXACT else written.replace(".", decimal)

    text = io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="")
    text.write(mark)
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(COLUMNS)
    writer.writerows(list(cells(call)) for call in calls)
    text.detach()  # flushes, and leaves the file open for the caller


def excel_writer(m: Messages) -> Callable[[Iterator[Call], BinaryIO], None]:
    """Writes CSV as Excel opens it: with a byte order mark, and the separator and the decimal sign of a language."""
    return partial(_write_csv, separator=m("csv.separator"), decimal=m("csv.decimal"), mark="\ufeff")


_NAMES = frozenset({"tags", "usage_unknown"})
"""Values with names from outside in them."""
_EXACT = frozenset({"started_at"})
"""Values with a dot that is not a decimal sign."""
_TEXTS: Mapping[str, Callable[[Any], str]] = {
    "started_at": lambda at: at.isoformat(),
    "cost": lambda cost: f"{cost:f}",
    "tags": lambda tags: (
        json.dumps(dict(tags), ensure_ascii=False) if tags else ""
    ),  # cell() replaces control characters
    "usage_unknown": "; ".join,
    **dict.fromkeys(("stream", "inconsistent", "cost_estimated"), lambda truth: "true" if truth else "false"),
}


def _write_lines(calls: Iterator[Call], file: BinaryIO) -> None:
    """What ``openai-meter import`` and ``Call.from_dict`` read."""
    file.writelines(json.dumps(call.to_dict(), separators=(",", ":")).encode() + b"\n" for call in calls)


_SESSIONS = frozenset({"live", "realtime.translations"})
"""Endpoints of which one session, with one id, is many calls."""


def _spend_log(call: Call) -> dict[str, Any]:
    usage = call.usage
    return {
        "request_id": (call.endpoint not in _SESSIONS and call.response_id) or call.id,
        "call_type": CALL_TYPES.get(call.endpoint, call.endpoint),
        "spend": None if call.cost is None else float(call.cost),
        "total_tokens": usage.total_tokens,
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "startTime": call.started_at.isoformat(),
        "endTime": (call.started_at + timedelta(seconds=call.duration)).isoformat(),
        "model": call.model,
        "custom_llm_provider": call.provider,
        "api_base": call.host,
        "user": call.agent,
        "end_user": call.user,
        "session_id": call.session,
        "request_tags": [f"{name}:{value}" for name, value in call.tags.items()],
        "status": "failure" if call.failed else "success",
    }


def _write_spend_log(calls: Iterator[Call], file: BinaryIO) -> None:
    """JSON lines with the columns of litellm's spend log; an agent is its ``user``, a user its ``end_user``."""
    file.writelines(json.dumps(_spend_log(call), separators=(",", ":")).encode() + b"\n" for call in calls)


# --- Parquet ----------------------------------------------------------------------------------------------------------


def _write_parquet(calls: Iterator[Call], file: BinaryIO) -> None:
    """Columns with types; costs are decimal numbers with 18 places, tags a map from name to value."""
    pyarrow = load_pyarrow()
    schema = _schema(pyarrow)
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while batch := list(islice(calls, _BATCH)):
            columns = [[_arrow(call, name) for call in batch] for name in COLUMNS]
            writer.write_table(pyarrow.table(columns, schema=schema))


def _arrow(call: Call, name: str) -> Any:
    value = _value(call, name)
    if name == "cost" and value is not None:
        return value.quantize(_ATTO, context=_CONTEXT)
    return list(value.items()) if name == "tags" else list(value) if name == "usage_unknown" else value


def _schema(pyarrow: Any) -> Any:
    text, whole = pyarrow.string(), pyarrow.int64()
    types = {
        "started_at": pyarrow.timestamp("us", tz="UTC"),
        "cost": pyarrow.decimal128(38, 18),
        "tags": pyarrow.map_(text, text),
        "usage_unknown": pyarrow.list_(text),
        **dict.fromkeys(("duration", "time_to_first_token", "seconds"), pyarrow.float64()),
        **dict.fromkeys(("stream", "inconsistent", "cost_estimated"), pyarrow.bool_()),
    }
    return pyarrow.schema(
        [(name, types.get(name) or (whole if name in _WHOLE_NUMBERS else text)) for name in COLUMNS],
    )


FORMS: Mapping[str, Callable[[Iterator[Call], BinaryIO], None]] = {
    "csv": _write_csv,
    "jsonl": _write_lines,
    "parquet": _write_parquet,
    "litellm": _write_spend_log,
}
"""All forms of an export, by name. To add one, add a row."""
