"""Reads usage and costs of an organization through the caller's client. ``openai`` is not imported here.

The client is anything that has ``client.admin.organization.usage`` with the methods of the SDK: ``openai.OpenAI`` since
the version that has ``admin_api_key``. These requests are free, and leave no records.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any, NamedTuple

from openai_meter.core.usage import fields_of
from openai_meter.errors import BillingError, ConfigurationError
from openai_meter.ledger.billing.bill import Bill, CostRow, UsageRow, cost_row, usage_row

__all__ = ["ENDPOINTS", "Endpoint", "read_bill"]

Progress = Callable[[str, int, int], None]
"""Is called before each request: with the name of the endpoint, its place, and how many endpoints there are."""


class Endpoint(NamedTuple):
    """One endpoint of the organization. To add one, add a row to :data:`ENDPOINTS`."""

    name: str
    """The method of ``client.admin.organization.usage``."""
    groups: tuple[str, ...]
    """What it is grouped by: all of these are in the SDK's list for the method."""
    limit: int = 31
    """Buckets of a day in one page at most."""
    required: bool = False


_CALLS = ("project_id", "api_key_id", "model")
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("costs", ("project_id", "line_item", "api_key_id"), limit=180, required=True),
    Endpoint("completions", (*_CALLS, "batch", "service_tier"), required=True),
    Endpoint("decisions", (*_CALLS, "batch", "service_tier")),
    Endpoint("embeddings", _CALLS),
    Endpoint("images", _CALLS),
    Endpoint("audio_speeches", _CALLS),
    Endpoint("audio_transcriptions", _CALLS),
    Endpoint("moderations", _CALLS),
    Endpoint("web_search_calls", _CALLS),
    Endpoint("file_search_calls", ("project_id", "api_key_id")),
    Endpoint("code_interpreter_sessions", ("project_id",)),
    Endpoint("vector_stores", ("project_id",)),
)

_ATTEMPTS = 8
_LONGEST_WAIT = 60.0
"""Seconds between two attempts at most."""
_PAGES = 10_000


def read_bill(
    client: Any,
    since: date,
    until: date,
    *,
    progress: Progress | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Bill:
    """Reads the usage and the costs of the days from ``since`` until before ``until`` (UTC).

    Args:
        client: a client of the SDK with an admin key.
        since: the first day.
        until: the day after the last one.
        progress: what is called before each request.
        sleep: what waits between attempts, after answers with status 429.

    Raises:
        ConfigurationError: the client cannot be used: it is asynchronous, or its SDK is too old.
        BillingError: the figures cannot be read; the message names the missing permission where it is that.
    """
    usage = _usage_resource(client)
    known = [row for row in ENDPOINTS if getattr(usage, row.name, None) is not None]
    span = {"start_time": _seconds(since), "end_time": _seconds(until)}
    rows: list[UsageRow] = []
    costs: list[CostRow] = []
    notes: list[str] = []
    for place, endpoint in enumerate(known, 1):
        if progress is not None:
            progress(endpoint.name, place, len(known))
        buckets = _Reading(usage, endpoint, span, sleep).buckets()
        try:
            for start, result in buckets:
                if endpoint.name == "costs":
                    costs.append(cost_row(start, result))
                else:
                    rows.append(usage_row(endpoint.name, start, result))
        except _NotThereError:
            if endpoint.required:
                raise BillingError(
                    f"the API has no organization/{_path(endpoint)}; is base_url that of OpenAI?"
                ) from None
            notes.append(endpoint.name)
    inside = range(since.toordinal(), until.toordinal())
    return Bill(
        tuple(row for row in rows if row.day.toordinal() in inside),
        tuple(row for row in costs if row.day.toordinal() in inside),
        tuple(notes),
    )


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _path(endpoint: Endpoint) -> str:
    return "costs" if endpoint.name == "costs" else f"usage/{endpoint.name}"


def _usage_resource(client: Any) -> Any:
    """The resource of the SDK that has the methods."""
    try:
        usage = client.admin.organization.usage
    except AttributeError:
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise ConfigurationError(
            f"client is a {kind} without client.admin.organization.usage; pass OpenAI(admin_api_key=...) of a newer "
            "openai (pip install --upgrade openai)"
        ) from None
    if getattr(usage, "costs", None) is None:
        raise ConfigurationError("client.admin.organization.usage has no costs(); pip install --upgrade openai")
    return usage


class _NotThereError(Exception):
    """The API answered 404."""


class _Reading:
    """The pages of one endpoint."""

    def __init__(self, usage: Any, endpoint: Endpoint, span: dict[str, int], sleep: Callable[[float], object]) -> None:
        self._method = getattr(usage, endpoint.name)
        self._endpoint = endpoint
        self._span = span
        self._sleep = sleep
        self._groups = list(endpoint.groups)

    def buckets(self) -> Iterator[tuple[Any, Any]]:
        """The start of the bucket and the result, for all results of all pages."""
        page: str | None = None
        seen: set[str] = set()
        for _ in range(_PAGES):
            answer = fields_of(self._request(page))
            for bucket in map(fields_of, answer.get("data") or ()):
                for result in bucket.get("results") or bucket.get("result") or ():
                    yield bucket.get("start_time"), result
            page = answer.get("next_page")
            if not answer.get("has_more") or not page:
                return
            if page in seen:
                raise BillingError(f"organization/{_path(self._endpoint)} gives the page {page!r} again and again")
            seen.add(page)

    def _request(self, page: str | None) -> Any:
        """One page. Waits and asks again where there were too many requests."""
        days = (self._span["end_time"] - self._span["start_time"]) // 86_400
        more: dict[str, Any] = {} if page is None else {"page": page}
        for attempt in range(_ATTEMPTS):
            try:
                answer = self._method(
                    **self._span,
                    bucket_width="1d",
                    group_by=list(self._groups),
                    limit=max(1, min(self._endpoint.limit, days)),
                    **more,
                )
            except Exception as error:
                status = getattr(error, "status_code", None)
                if status == 429 and attempt + 1 < _ATTEMPTS:
                    self._sleep(_wait(error, attempt))
                elif status == 400 and page is None and "api_key_id" in self._groups:
                    # Not every organization may group by key: the projects are enough to compare.
                    self._groups.remove("api_key_id")
                else:
                    raise self._explained(error, status) from error
            else:
                if inspect.isawaitable(answer):
                    getattr(answer, "close", lambda: None)()
                    raise ConfigurationError("client is asynchronous; pass OpenAI(admin_api_key=...), not AsyncOpenAI")
                return answer
        raise AssertionError  # the last attempt returns or raises

    def _explained(self, error: Exception, status: object) -> Exception:
        """The error that the caller gets, with a remedy."""
        path = f"organization/{_path(self._endpoint)}"
        text = _line(str(error))
        if status in {401, 403}:
            found = _SCOPES.search(text)
            if found is None and status == 401:
                return BillingError(
                    f"{path}: OpenAI does not accept the key; pass an admin key of the organization "
                    "(OPENAI_ADMIN_KEY), not a key of a project"
                )
            scope = found[1] if found else "api.usage.read"
            return BillingError(
                f"{path}: the key may not read it: the permission {scope} is missing; an owner of the organization "
                "can give it to an admin key (Usage: read)"
            )
        if status == 404:
            return _NotThereError(text)
        if status == 429:
            return BillingError(f"{path}: too many requests, also after {_ATTEMPTS} attempts; try again later")
        return BillingError(f"{path} cannot be read: {text or type(error).__name__}")


_SCOPES = re.compile(r"[Mm]issing scopes?: *([\w:-]+(?:\.[\w:-]+)*(?:, *[\w:-]+(?:\.[\w:-]+)*)*)")


def _line(text: str) -> str:
    return " ".join(text.split())[:500]


def _wait(error: Exception, attempt: int) -> float:
    """Seconds until the next attempt: what the answer asks for, else twice as long each time."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        wanted = float(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        wanted = 2.0**attempt
    return min(max(wanted, 0.0), _LONGEST_WAIT) if isfinite(wanted) else _LONGEST_WAIT
