"""Reads usage and costs from files: exports of OpenAI's dashboard (CSV, TSV), and answers of its API (JSON)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from openai_meter.errors import BillingError
from openai_meter.ledger.billing.bill import Bill, CostRow, UsageRow, cost_row, usage_row

__all__ = ["read_files"]

_LARGEST = 500_000_000
"""Bytes of a file at most."""
_KINDS: Mapping[str, str] = {
    "organization.usage.completions.result": "completions",
    "organization.usage.decisions.result": "decisions",
    "organization.usage.embeddings.result": "embeddings",
    "organization.usage.moderations.result": "moderations",
    "organization.usage.images.result": "images",
    "organization.usage.audio_speeches.result": "audio_speeches",
    "organization.usage.audio_transcriptions.result": "audio_transcriptions",
    "organization.usage.vector_stores.result": "vector_stores",
    "organization.usage.code_interpreter_sessions.result": "code_interpreter_sessions",
    "organization.usage.file_searches.result": "file_search_calls",
    "organization.usage.web_searches.result": "web_search_calls",
    "organization.costs.result": "costs",
}
"""What a result of the API is, by its ``object``."""
_COLUMNS: tuple[tuple[str, str], ...] = (
    ("amount_value", "costs"),
    ("amount", "costs"),
    ("characters", "audio_speeches"),
    ("seconds", "audio_transcriptions"),
    ("images", "images"),
    ("usage_bytes", "vector_stores"),
    ("num_sessions", "code_interpreter_sessions"),
    ("vector_store_id", "file_search_calls"),
    ("context_level", "web_search_calls"),
    ("output_tokens", "completions"),
    ("input_tokens", "embeddings"),
)
"""What the rows of a CSV are, by the first of these columns that they have."""


def read_files(paths: Iterable[str | Path]) -> Bill:
    """The rows of all files together.

    Raises:
        BillingError: a file cannot be read, or has neither usage nor costs.
    """
    usage: list[UsageRow] = []
    costs: list[CostRow] = []
    has_usage = False
    for path in map(Path, paths):
        found = 0
        for kind, start, result in _results(path):
            found += 1
            try:
                if kind == "costs":
                    costs.append(cost_row(start, result))
                else:
                    has_usage = True
                    usage.append(usage_row(kind, start, result))
            except BillingError as error:
                raise BillingError(f"{path}: {error}") from None
        if not found:
            raise BillingError(
                f"{path} has neither usage nor costs; pass an export of OpenAI's usage page, or its API's JSON"
            )
    return Bill(
        tuple(row for row in usage if row.counts or row.requests),
        tuple(row for row in costs if row.amount or row.quantity),
        (),
        has_usage,
    )


def _results(path: Path) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """The kind, the start of the bucket, and the fields of each result of a file."""
    try:
        if path.stat().st_size > _LARGEST:
            raise BillingError(f"{path} is larger than {_LARGEST // 1_000_000} MB; export fewer days")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise BillingError(f"{path} cannot be read: {error}") from None
    if text.lstrip()[:1] in {"{", "["}:
        yield from _of_json(_parsed(path, text))
    else:
        yield from _of_table(path, text)


def _parsed(path: Path, text: str) -> list[Any]:
    """The documents of a file: one, or one on each line."""
    try:
        return [json.loads(text, parse_float=str)]
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line, parse_float=str) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise BillingError(f"{path} is not JSON: {error}") from None


def _of_json(documents: Iterable[Any]) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """The results of pages, buckets, or lists of these."""
    for document in documents:
        if isinstance(document, list):
            yield from _of_json(document)
        elif isinstance(document, dict) and "data" in document:
            yield from _of_json([document["data"]])
        elif isinstance(document, dict):
            results = document.get("results") or document.get("result") or ()
            for result in results if isinstance(results, list) else [results]:
                if isinstance(result, dict) and (kind := _KINDS.get(str(result.get("object")))) is not None:
                    yield kind, document.get("start_time"), result


def _of_table(path: Path, text: str) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """The rows of a CSV or TSV. Rows without figures are days without traffic."""
    first = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter="\t" if "\t" in first else ";" if ";" in first else ",")
    columns = [name.strip().lower() for name in rows.fieldnames or ()]
    kind = next((kind for column, kind in _COLUMNS if column in columns), None)
    if kind is None or "start_time" not in columns:
        raise BillingError(
            f"{path} has the columns {', '.join(columns)[:200]}; a usage export has start_time and counts"
        )
    for row in rows:
        fields = {
            str(name).strip().lower(): value.strip() for name, value in row.items() if isinstance(value, str) and value
        }
        if fields.get("start_time"):
            yield kind, fields.pop("start_time"), fields
