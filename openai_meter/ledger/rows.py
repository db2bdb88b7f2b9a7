"""A call as a row of ``calls``, and back, with everything that a later pricing needs.

The same rows, as JSON without what is NULL, are the lines of a spool.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import isfinite
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, Text

from openai_meter.core.call import Call, current_status, make_call
from openai_meter.core.money import Amount
from openai_meter.core.sections import read_sections
from openai_meter.core.usage import COUNTS, Usage
from openai_meter.ledger import schema
from openai_meter.ledger.schema import REST
from openai_meter.ledger.stored_bills import BillOfRow, bill_of_call, is_bill

__all__ = [
    "COLUMNS",
    "Row",
    "check_call",
    "decode_facts",
    "decode_line",
    "encode_line",
    "from_micros",
    "from_row",
    "micros",
    "to_row",
]

Row = tuple[Any, ...]
"""The values of a row of ``calls``, in the order of :data:`COLUMNS`."""

COLUMNS = tuple(column.name for column in schema.calls.columns)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST_COST = 2**63 - 1
"""Pico-dollars of a call at most, 9.2 million dollars: what a column holds."""
_LARGEST = 2**43
"""Of each count of a call: no call has so many tokens, and a roll-up holds the sums of a million such calls."""
_LONGEST = 2**33
"""Seconds of a call at most, for the same reason."""
_LONGEST_ID = 200
"""Of an id, in characters: PostgreSQL limits the length of an index entry."""
_counts = attrgetter(*(name for name in COUNTS if name != "seconds"))
_FACT = 100
"""Characters of the longest text among the facts that prices depend on."""


def micros(at: datetime) -> int:
    """Microseconds since 1970 for an aware time."""
    return (at - _EPOCH) // _MICROSECOND


def from_micros(micro: int) -> datetime:
    """The time in UTC that is so many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=micro)


def to_row(call: Call) -> Row:
    """The row of a call.

    Raises:
        ValueError: it cannot be stored: a number beyond 64 bits, an id that is too long, a number that is not finite.
    """
    usage, facts = call.usage, call.price_facts
    pico, rest, exact = _split_money(call.cost_pico)
    texts: tuple[str | None, ...] = (
        call.id, call.endpoint, call.provider, call.host, call.model, call.requested_model, call.response_id,
        call.service_tier, call.error_type, call.cost_reason, call.price_source, call.agent, call.operation, call.user,
        call.session, call.block, call.usage_rule, call.organization, call.project, call.request_id,
    )  # fmt: skip
    together = "".join(filter(None, texts))  # one check of all is faster than a check of each
    if not together.isascii() or "\0" in together:
        texts = tuple(map(_text, texts))
    (
        id_, endpoint, provider, host, model, requested_model, response_id, service_tier, error_type, cost_reason,
        price_source, agent, operation, user, session, block, usage_rule, organization, project, request_id,
    ) = texts  # fmt: skip
    counts = _counts(usage)
    tokens_in, tokens_out, total = usage.input_tokens, usage.output_tokens, usage.total_tokens
    duration, first, seconds = float(call.duration), call.time_to_first_token, float(usage.seconds)
    numbers = (
        tokens_in or 0, tokens_out or 0, total or 0, call.attempts or 0, call.processing_ms or 0,
        call.remaining_requests or 0, call.remaining_tokens or 0, *counts,
    )  # fmt: skip
    if max(numbers) > _LARGEST or min(numbers) < -_LARGEST:
        raise ValueError(f"a count is {float(max(numbers, key=abs)):g}, which is beyond {_LARGEST}")
    if not -_LARGEST_COST <= (pico or 0) <= _LARGEST_COST:
        raise ValueError("a cost is larger than a column can hold")
    if not isfinite(duration + seconds + (first or 0)):
        raise ValueError("a number is not finite")
    if not max(abs(duration), abs(seconds)) <= _LONGEST:
        raise ValueError(f"{max(duration, seconds):g} seconds are beyond {_LONGEST}")
    if (started_at := micros(call.started_at)) < 0:
        raise ValueError("a call began before 1970")  # SQL would count it in another day than Python
    if len(call.id) > _LONGEST_ID:
        raise ValueError(f"an id of {len(call.id)} characters is too long")
    return (
        id_, started_at, duration, None if first is None else float(first), response_id, tokens_in, tokens_out, total,
        *counts, seconds, pico, rest, exact, json.dumps(_encode_facts(facts)) if facts else None, user, session,
        request_id, call.processing_ms, call.remaining_requests, call.remaining_tokens,
        None if call.evidence is None else call.evidence.sections or None,
        # What many calls have in common.
        endpoint, provider, host, model, requested_model, service_tier, call.stream, call.status, error_type,
        call.usage_source, json.dumps([*map(_text, call.usage_unknown)]) if call.usage_unknown else None,
        usage.inconsistent, call.cost_status, cost_reason, call.cost_estimated, price_source, usage_rule,
        call.attempts, organization, project, agent, operation, block,
        _encode_tags(tuple(sorted(call.tags.items()))) if call.tags else None, _bill(call),
    )  # fmt: skip


def _bill(call: Call) -> str | None:
    """The bill of a call as it is stored."""
    book = call.price_book
    if book is None or call.cost_pico is None:
        return None
    return book.text if type(book) is BillOfRow else bill_of_call(call)


@lru_cache(1024)
def _encode_tags(tags: tuple[tuple[str, str], ...]) -> str:
    """Tags as JSON; programs use the same ones again and again."""
    return json.dumps({_text(name): _text(value) for name, value in tags}, ensure_ascii=False)


def from_row(row: Mapping[str, Any]) -> Call:
    """The call of a row, or of a line of a spool, where what is NULL or 0 may be missing.

    It equals the call that was stored, except for the evidence, which is kept in memory only. Its bill is the one that
    was stored.

    Raises:
        ValueError: it is not the row of a call.
    """
    get = row.get
    try:
        usage = Usage(
            get("input_tokens"),
            get("output_tokens"),
            get("total_tokens"),
            **{name: value for name in COUNTS if (value := get(name))},
            inconsistent=bool(get("inconsistent")),
        )
        bill = get("bill")
        return make_call(
            id=row["id"],
            started_at=from_micros(row["started_at"]),
            duration=get("duration") or 0.0,
            endpoint=row["endpoint"],
            provider=row["provider"],
            model=get("model"),
            requested_model=get("requested_model"),
            status=current_status(row["status"]),
            usage=usage,
            usage_source=row["usage_source"],
            usage_unknown=tuple(json.loads(unknown)) if (unknown := get("usage_unknown")) else (),
            response_id=get("response_id"),
            service_tier=get("service_tier"),
            stream=bool(get("stream")),
            time_to_first_token=get("time_to_first_token"),
            error_type=get("error_type"),
            cost_pico=_join_money(get("cost_pico"), get("cost_rest"), get("cost_exact")),
            cost_status=row["cost_status"],
            cost_reason=get("cost_reason"),
            cost_estimated=bool(get("cost_estimated")),
            price_source=get("price_source"),
            agent=get("agent"),
            operation=get("operation"),
            user=get("user"),
            session=get("session"),
            tags=json.loads(tags) if (tags := get("tags")) else {},
            block=get("block"),
            host=get("host"),
            price_facts=decode_facts(get("price_facts")),
            price_book=None if bill is None else BillOfRow(bill, usage),
            usage_rule=get("usage_rule"),
            attempts=get("attempts"),
            organization=get("organization"),
            project=get("project"),
            request_id=get("request_id"),
            processing_ms=get("processing_ms"),
            remaining_requests=get("remaining_requests"),
            remaining_tokens=get("remaining_tokens"),
            sections=read_sections(get("sections")),
        )
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"this is not the row of a call: {error!r}") from error


def check_call(call: Call) -> None:
    """Checks that a call whose fields come from a file has a row.

    Raises:
        ValueError: a field has the wrong type or is too large; the message begins with its name.
    """
    for column in schema.calls.columns:
        name = column.name
        if name not in _OWN_FORMS:
            _check_value(column, getattr(call.usage if name in _USAGE_COLUMNS else call, name))
    if not isinstance(call.tags, Mapping) or not all(
        isinstance(text, str) for pair in call.tags.items() for text in pair
    ):
        raise ValueError(f"tags is {str(call.tags)[:_FACT]}; it has to be an object of texts")
    if not all(isinstance(text, str) for text in call.usage_unknown):
        raise ValueError("usage_unknown has to be a list of texts")
    try:
        to_row(call)
    except (TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(f"a field has the wrong type: {error}") from error


_OWN_FORMS = frozenset(
    {"started_at", "usage_unknown", "cost_pico", "cost_rest", "cost_exact", "price_facts", "tags", "bill", "sections"}
)
"""Columns that are not as the field of the call."""
_USAGE_COLUMNS = frozenset({"input_tokens", "output_tokens", "total_tokens", "inconsistent", *COUNTS})


def encode_line(row: Row) -> bytes:
    """A row as a line of a spool, with the line break at its end."""
    fields = {
        name: value
        for name, value in zip(COLUMNS, row, strict=True)
        # Sections have no key yet: it is in the database. A call that goes by way of the spool has none.
        if value is not None and value is not False and type(value) is not bytes
    }
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def decode_line(line: bytes) -> Row:
    """The row of a line of a spool. Every value is checked, as whatever is in the line goes to the database.

    Raises:
        ValueError: the line is damaged.
    """
    try:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ValueError("a line of a spool is a JSON object")  # noqa: TRY004 - data, not a caller's mistake
        for column in schema.calls.columns:
            _check_value(column, fields.get(column.name))
        for name, check in _CHECKS.items():
            if (text := fields.get(name)) is not None and not check(text):
                raise ValueError(f"{name} is {text[:_FACT]!r}")
        return to_row(from_row(fields))
    except (RecursionError, AttributeError, TypeError, ArithmeticError) as error:
        raise ValueError(f"a line of the spool is damaged: {error!r}") from error


_REQUIRED = frozenset({"id", "started_at", "endpoint", "provider", "status", "usage_source", "cost_status"})
"""The columns that every line states; the others are left out where they are NULL, 0 or false."""


def _check_value(column: Any, value: object) -> None:
    """Checks the type of a value of a line.

    Raises:
        ValueError: the column does not take it.
    """
    if value is None and column.name not in _REQUIRED:
        return
    kinds: tuple[type, ...] = _KINDS[type(column.type)]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{column.name} is {repr(value)[:_FACT]}; it has to be {_KIND_NAMES[type(column.type)]}")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{column.name} is not finite")


_KINDS: Mapping[type, tuple[type, ...]] = {Text: (str,), BigInteger: (int,), Double: (int, float), Boolean: (bool,)}


_KIND_NAMES: Mapping[type, str] = {
    Text: "text", BigInteger: "a whole number", Double: "a number", Boolean: "true or false",
}  # fmt: skip


def _is_list_of_texts(text: str) -> bool:
    values = json.loads(text)
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _is_table_of_texts(text: str) -> bool:
    values = json.loads(text)
    return isinstance(values, dict) and all(isinstance(value, str) for value in values.values())


def _are_facts(text: str) -> bool:
    return isinstance(json.loads(text), dict) and _DECIMALS.search(text) is None


_DECIMALS = re.compile(r'"decimal": *"[^"]*[eE][+-]?\d{4,}')
"""A decimal number whose digits would fill the memory if they were written out."""

_CHECKS: Mapping[str, Callable[[str], object]] = {
    "usage_unknown": _is_list_of_texts,
    "tags": _is_table_of_texts,
    "price_facts": _are_facts,
    "bill": is_bill,
    "sections": read_sections,
    "cost_exact": re.compile(r"-?\d{1,400}/[1-9]\d{0,400}").fullmatch,
}
"""The columns whose text has a form of its own."""


def _text(value: str | None) -> str | None:
    """A text as both databases take it: PostgreSQL has no NUL in a text, and neither has half a surrogate pair."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.encode("utf-8", "replace").decode("utf-8").replace("\0", "")


# --- money ------------------------------------------------------------------------------------------------------------


def _split_money(amount: Amount | None) -> tuple[int | None, int | None, str | None]:
    """Whole pico-dollars, the rest of one in parts of ``REST``, and the exact fraction where those two are rounded."""
    if amount is None or isinstance(amount, int):
        return amount, None if amount is None else 0, None
    parts = amount * REST
    whole, rest = divmod(round(parts), REST)
    return whole, rest, None if parts.denominator == 1 else f"{amount.numerator}/{amount.denominator}"


def _join_money(pico: int | None, rest: int | None, exact: str | None) -> Amount | None:
    return Fraction(exact) if exact is not None else schema.money(pico, rest)


# --- the facts that a price depends on (usage.billing_details) --------------------------------------------------------


def _encode_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as JSON values: short words, numbers, and usage under the name of its kind."""
    return {key: fields for key, value in facts.items() if (fields := _encode_fact(value)) is not None}


def _encode_fact(value: object) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _FACT else None
    if isinstance(value, Usage):
        return {"usage": value.to_dict()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, tuple):
        return {"usages": [[model, usage.to_dict()] for model, usage in value]}
    return value if isinstance(value, bool | int) else None


def decode_facts(text: str | None) -> dict[str, Any]:
    """The facts that a column ``price_facts`` holds."""
    return {key: _decode_fact(value) for key, value in json.loads(text).items()} if text else {}


def _decode_fact(value: Any) -> object:
    if not isinstance(value, dict):
        return value
    if "usage" in value:
        return Usage.from_dict(value["usage"])
    if "decimal" in value:
        return Decimal(value["decimal"])
    return tuple((model, Usage.from_dict(usage)) for model, usage in value["usages"])
