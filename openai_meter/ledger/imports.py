"""Reads calls from files: exported JSON lines, reports of a ``TokenTracker``, batch outputs, LiteLLM's spend logs.

Reading a file again gives the same ids, so that a ledger counts nothing twice.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from openai_meter.core.call import Call, make_call
from openai_meter.core.money import exact, pico, simplest
from openai_meter.core.totals import NOT_PRICED
from openai_meter.core.usage import Usage, count, fields_of
from openai_meter.core.usage_objects import read_usage
from openai_meter.errors import ConfigurationError
from openai_meter.ledger import spend_logs
from openai_meter.ledger.corrections import price_call
from openai_meter.ledger.rows import check_call, micros
from openai_meter.usage.external import MANUAL, read_external

if TYPE_CHECKING:
    from openai_meter.pricing import PriceBook

__all__ = ["Part", "Source", "read"]

_FORMS = (
    "JSON lines from openai-meter export, a report of TokenTracker, an output file of the Batch API, or a spend log of "
    "LiteLLM (JSON or CSV)"
)
_LARGEST = 500_000_000
"""Bytes of a file that is one JSON document; lines are read one by one."""


class Part(NamedTuple):
    """Some of the figures of a report."""

    calls: int = 0
    tokens: int = 0
    cost: Fraction = Fraction(0)
    """Pico-dollars."""

    def plus(self, other: Part) -> Part:
        """The sum of both."""
        return Part(self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost)

    def minus(self, other: Part) -> Part:
        """The difference to another part; never below 0."""
        less = self.calls - other.calls, self.tokens - other.tokens
        return Part(max(less[0], 0), max(less[1], 0), max(self.cost - other.cost, Fraction(0)))


def _stated(fields: Mapping[str, Any], tokens: str, cost: str) -> Part:
    """The tokens and the cost that a part of a report states."""
    _check_amount(fields, cost)
    amount = fields.get(cost)
    return Part(0, count(fields.get(tokens)) or 0, Fraction(0) if amount is None else pico(exact(amount, cost)))


_HIGHEST, _LOWEST = 12, -40
"""The powers of ten that the digits of an amount in US dollars can stand for."""


def _check_amount(fields: Mapping[str, Any], name: str) -> None:
    """Checks the size of an amount before it is used: the digits of ``1e99999999`` would fill the memory.

    Raises:
        ValueError: it is not an amount of US dollars.
    """
    value = fields.get(name)
    if value is None:
        return
    number = exact(value, name) if len(str(value)) <= _LONGEST else None
    if number is None or (number and not _LOWEST <= number.adjusted() <= _HIGHEST):
        raise ValueError(f"{name} is {_short(value)}, which is not an amount of US dollars")


_LONGEST = 100
"""Characters of a value that is read as an amount, or shown in a message."""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class Source:
    """A file that is being read.

    Args:
        path: the file.
        book: prices the calls without a price in the file: batch outputs, and reports without exact records.
        zone: the timezone of times without an offset; trackers write local times.
    """

    def __init__(self, path: Path, book: PriceBook, zone: tzinfo | None = None) -> None:
        self.path = path
        self.skipped = 0
        """Lines without a call: requests of a batch that were not made."""
        self.missing = Part()
        """The part of the sums of a report that its details do not have: it cannot be imported."""
        self.missing_cost_known = True
        """Whether all calls of the report have a price; if not, the missing part costs more than the report states."""
        self.priced_anew = 0
        """Calls whose cost in the ledger is ours, and not the one that the report states."""
        self.stated = self.ours = Fraction(0)
        """Pico-dollars of those calls: as the report states them, and ours."""
        self._book = book
        self._zone = zone
        self._changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)

    def __iter__(self) -> Iterator[Call]:
        """The calls, in the order of the file.

        Raises:
            ConfigurationError: the file, or a line of it, has none of the forms; calls before it have been yielded.
        """
        for number, document in self._documents():
            try:
                for call in self._calls(document):
                    check_call(call)
                    yield call
            except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError, OSError, RecursionError) as error:
                where = f"{self.path}, line {number}" if number else str(self.path)
                raise ConfigurationError(
                    f"{where}: {_why(error)}; nothing counts twice if it is imported again"
                ) from error

    def _documents(self) -> Iterator[tuple[int, Any]]:
        """The JSON documents of the file, each with its line: one a line, or a single one."""
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = line.removeprefix(b"\xef\xbb\xbf").strip()
                if not text:
                    continue
                if number == 1 and (separator := _separator(text)) is not None:
                    yield from self._rows(separator)
                    return
                try:
                    document = json.loads(text)
                except (ValueError, RecursionError) as error:
                    if number == 1 and text[:1] in b"{[":
                        yield 0, self._whole()
                        return
                    raise ConfigurationError(f"{self.path}, line {number} is not JSON; pass {_FORMS}") from error
                yield number, document

    def _rows(self, separator: str) -> Iterator[tuple[int, Any]]:
        """The lines of a CSV file, each with the number of its last line."""
        csv.field_size_limit(max(csv.field_size_limit(), _LARGEST))  # logs have columns with whole requests in them
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(file, delimiter=separator)
            try:
                for row in reader:
                    if None in row or None in row.values():
                        raise ValueError(f"it does not have the {len(reader.fieldnames or ())} columns of the header")
                    yield reader.line_num, row
            except (csv.Error, ValueError) as error:
                raise ConfigurationError(f"{self.path}, line {reader.line_num}: {error}") from error

    def _whole(self) -> Any:
        if self.path.stat().st_size > _LARGEST:
            raise ConfigurationError(f"{self.path} is too large to be one JSON document; pass JSON lines")
        try:
            return json.loads(self.path.read_bytes().decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{self.path} is not JSON; pass {_FORMS}") from error

    def _calls(self, document: Any) -> Iterator[Call]:
        if isinstance(document, list) and document and all(isinstance(row, dict) for row in document):
            for number, row in enumerate(document):  # as LiteLLM's API answers
                try:
                    yield from self._calls(row)
                except (ValueError, TypeError, KeyError, ArithmeticError) as error:
                    raise ValueError(f"[{number}]: {_why(error)}") from error
            return
        if not isinstance(document, dict):
            raise TypeError(f"this is not one of {_FORMS}")
        for field, reader in _READERS.items():
            if field in document:
                yield from reader(self, document)
                return
        raise ValueError(f"this is not one of {_FORMS}")

    # --- each form ----------------------------------------------------------------------------------------------------

    def _exported(self, document: Mapping[str, Any]) -> Iterator[Call]:
        _check_amount(document, "cost")
        if not isinstance(document.get("usage", {}), dict):
            raise TypeError(f"usage is {_short(document.get('usage'))}; it has to be an object")
        call = Call.from_dict(document)
        if call.started_at.tzinfo is None:
            raise ValueError(f"started_at is {document['started_at']!r}, which has no timezone")
        yield replace(call, started_at=call.started_at.astimezone(UTC))

    def _batch_output(self, document: Mapping[str, Any]) -> Iterator[Call]:
        response = fields_of(document.get("response"))
        body = response.get("body")
        if not isinstance(body, dict) or (count(response.get("status_code")) or 0) >= 400:
            self.skipped += 1  # the Batch API charges nothing for it
            return
        answer = read_external(body)
        state = answer.response
        created = None if answer.created is None else datetime.fromtimestamp(answer.created, UTC)
        identity = document.get("id") or response.get("request_id") or state.response_id or json.dumps(document)
        usage = answer.usage
        call = make_call(
            id=_identity(created, "batch", str(identity)),
            started_at=created or self._changed_at,
            duration=0.0,
            endpoint=answer.endpoint,
            provider="openai",
            model=state.model,
            requested_model=None,
            status="ok" if state.state is None or state.state == "open" else state.state,
            usage=usage or Usage(),
            usage_source="none" if usage is None else "api",
            response_id=state.response_id,
            service_tier="batch",
            error_type=state.error_type,
            price_facts=state.facts,
        )
        yield price_call(call, self._book)

    def _tracker_report(self, document: Mapping[str, Any]) -> Iterator[Call]:
        session = str(document.get("session_start"))
        details = document["calls_detail"]
        if not isinstance(details, list):
            raise TypeError(f"calls_detail is {_short(details)}; it has to be a list of calls")
        found = Part()
        for number, detail in enumerate(details):
            try:
                if not isinstance(detail, dict):
                    raise TypeError(f"it is {_short(detail)}, and has to be an object")
                record = detail.get("call")
                calls = (
                    [*self._exported(record)] if isinstance(record, dict) else [self._tracked(session, number, detail)]
                )
                found = found.plus(_stated(detail, "total_tokens", "cost_usd"))
            except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError) as error:
                raise ValueError(f"calls_detail[{number}]: {_why(error)}") from error
            yield from calls
        whole = _stated(document, "total_tokens", "cost" if document.get("cost") is not None else "total_cost")
        self.missing_cost_known = not count(document.get("unpriced_calls"))
        calls_of_all = count(document.get("total_calls")) or 0
        self.missing = whole._replace(calls=calls_of_all).minus(found._replace(calls=len(details)))

    def _tracked(self, session: str, number: int, detail: Mapping[str, Any]) -> Call:
        """A call of a tracker without exact records: with our price, else with the cost in the report."""
        at = datetime.fromisoformat(detail["timestamp"])
        if at.tzinfo is None:
            at = at.replace(tzinfo=self._zone) if self._zone is not None else at.astimezone()
        at = at.astimezone(UTC)
        usage = read_usage(detail) or Usage()
        call = make_call(
            id=_identity(at, "tracker", session, str(number), json.dumps(detail, sort_keys=True)),
            started_at=at,
            duration=0.0,
            endpoint=MANUAL,
            provider="openai",
            model=detail.get("model"),
            requested_model=detail.get("model"),
            status="ok",
            usage=usage,
            usage_source="api" if usage.known else "none",
            agent=detail.get("agent_name"),
            operation=detail.get("operation"),
        )
        return self._priced(call, detail.get("cost_usd"), "cost_usd", "imported report")

    def _spend_log(self, row: Mapping[str, Any]) -> Iterator[Call]:
        call, spend = spend_logs.read_row(row, self._zone, lambda at, name: _identity(at, "litellm", name))
        yield self._priced(call, spend, "spend", spend_logs.SOURCE)

    def _priced(self, call: Call, stated: object, name: str, source: str) -> Call:
        """A call with our price, else with the cost that the file states, if it states one."""
        ours = price_call(call, self._book)
        if stated is None:
            return ours
        _check_amount({name: stated}, name)
        amount = simplest(pico(exact(stated, name)))
        if ours.cost_status not in NOT_PRICED:
            if ours.cost_pico != amount:
                self.priced_anew += 1
                self.stated += amount
                self.ours += ours.cost_pico or 0
            return ours
        return replace(call, cost_pico=amount, cost_status="priced", price_source=source)


_READERS: Mapping[str, Callable[[Source, Mapping[str, Any]], Iterator[Call]]] = {
    "calls_detail": Source._tracker_report,  # noqa: SLF001 - its own class
    "custom_id": Source._batch_output,  # noqa: SLF001
    "started_at": Source._exported,  # noqa: SLF001
    spend_logs.IDENTIFIED_BY: Source._spend_log,  # noqa: SLF001
}
"""The reader of each form, by the field that identifies it. To add a form, add a row."""


def _separator(header: bytes) -> str | None:
    """The separator of a CSV file whose header has the columns of a form; ``None``: it is not one."""
    names = header.decode("utf-8", "replace").replace('"', "")
    return next((mark for mark in ",;\t" if spend_logs.IDENTIFIED_BY in names.split(mark)), None)


def _why(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else str(error)


def read(path: str | Path, book: PriceBook, zone: tzinfo | None = None) -> Source:
    """Opens a file to be imported; see :class:`Source`.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        source = Source(Path(path), book, zone)
        with source.path.open("rb"):
            return source
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read ({error.strerror}); name another file") from error


def _identity(at: datetime | None, *parts: str) -> str:
    """A UUID of version 7 that is made of a time and a text, so that the same call always has the same one."""
    stamp = f"{max(micros(at), 0) // 1000 if at is not None else 0:012x}"
    text = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{stamp[:8]}-{stamp[8:12]}-7{text[:3]}-8{text[3:6]}-{text[6:18]}"
