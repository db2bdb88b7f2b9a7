"""The sources of a live view: a ledger, or a server of openai_meter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode, urlsplit

from openai_meter.alerts import Threshold
from openai_meter.core import settings
from openai_meter.core.locale import language
from openai_meter.core.totals import Totals
from openai_meter.errors import ConfigurationError, LedgerError
from openai_meter.metering.pulse import Pulse, checked_window, of_ledger

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from openai_meter.ledger import Ledger

__all__ = ["AwayError", "Feed", "LedgerFeed", "Source", "UrlFeed", "feed_of"]

_LEDGER = "OPENAI_METER_LEDGER"
_TOKEN = "OPENAI_METER_TOKEN"  # noqa: S105 - the name of a variable
_LARGEST = 4_000_000
"""Bytes of an answer that are read at most: a pulse has some ten thousand."""


class AwayError(Exception):
    """The source cannot be read now; the message contains the reason. A later try may succeed."""


class Source(NamedTuple):
    """The options of a source."""

    ledger: str | None = None
    url: str | None = None
    by: str = "model"
    window: float = 300.0
    timezone: str | None = None
    limits: tuple[Threshold, ...] = ()


class Feed(Protocol):
    """Reads pulses from a source; for one thread at a time."""

    name: str
    """The source as it is shown."""

    def pulse(self) -> Pulse:
        """The pulse of now.

        Raises:
            AwayError: the source cannot be read now.
        """
        raise NotImplementedError

    def totals(self, since: str) -> Totals:
        """The sums since a moment such as ``7d`` or ``2026-10``.

        Raises:
            AwayError: the source cannot be read now.
            ConfigurationError: the moment cannot be read.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Closes the source."""
        raise NotImplementedError


def feed_of(source: Source, timeout: float = 5.0) -> Feed:
    """The feed of a source. Does not connect yet.

    Args:
        source: the options of the source.
        timeout: seconds that a server may take for each part of its answer.

    Raises:
        ConfigurationError: there is no such source, or an option does not go with it.
        MissingExtraError: the ledger needs a package that is not installed.
    """
    from openai_meter.core.dimensions import checked  # noqa: PLC0415

    checked((source.by,))
    checked_window(source.window)
    if source.url is not None:
        if source.ledger is not None:
            raise ConfigurationError("name a ledger or the URL of a server, not both")
        if source.limits or source.timezone is not None:
            raise ConfigurationError(
                "a server has limits and a timezone of its own; --limit and --timezone need a ledger"
            )
        return UrlFeed(source, timeout)
    url = source.ledger or settings.get("ledger")
    if not url:
        raise ConfigurationError(language()("cli.source_missing", variable=_LEDGER))
    return LedgerFeed(source._replace(ledger=url))


class LedgerFeed:
    """Pulses of a ledger: of all processes that write to it. Reading never makes the file of a ledger."""

    def __init__(self, source: Source) -> None:
        from openai_meter.budgets.stored import budget_reader  # noqa: PLC0415
        from openai_meter.core.calendar_windows import zone_of  # noqa: PLC0415
        from openai_meter.ledger.database import checked_url, shown_url  # noqa: PLC0415 - SQLAlchemy takes time to load

        assert source.ledger is not None
        self._source = source
        self._url = source.ledger
        url = checked_url(source.ledger)
        self._file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        self._zone = zone_of(source.timezone)
        self._ledger: Ledger | None = None
        self._budgets = budget_reader()
        self.name = shown_url(url)

    def pulse(self) -> Pulse:
        """The pulse of now."""
        source = self._source
        try:
            return of_ledger(
                self._opened(), source.by, window=source.window, zone=self._zone, thresholds=source.limits,
                budgets=() if self._budgets is None else self._budgets.usage(),
            )  # fmt: skip
        except LedgerError as error:
            raise AwayError(str(error)) from error

    def totals(self, since: str) -> Totals:
        """The sums since a moment."""
        try:
            return self._opened().totals(since=since, timezone=self._zone)
        except LedgerError as error:
            raise AwayError(str(error)) from error

    def _opened(self) -> Ledger:
        if self._file is not None and not self._file.exists():
            raise AwayError(f"there is no ledger {self._file}")
        if self._ledger is None:
            from openai_meter.ledger import Ledger  # noqa: PLC0415

            self._ledger = Ledger(self._url)
        return self._ledger

    def close(self) -> None:
        """Closes the connections."""
        if self._ledger is not None:
            self._ledger.close(timeout=0.5)
        if self._budgets is not None:
            self._budgets.close()


class UrlFeed:
    """Pulses of a server, by ``GET /api/live``. Follows no redirect, and uses no proxy: the token goes nowhere else."""

    def __init__(self, source: Source, timeout: float) -> None:
        assert source.url is not None
        try:
            parts = urlsplit(source.url)
            self._host, self._port = parts.hostname, parts.port
        except ValueError:
            raise ConfigurationError(
                f"url={source.url!r} cannot be read; use one such as http://127.0.0.1:3000"
            ) from None
        if parts.scheme not in {"http", "https"} or not self._host or parts.query or parts.username:
            raise ConfigurationError(f"url={source.url!r} is not a server; use one such as http://127.0.0.1:3000")
        self._secure = parts.scheme == "https"
        self._path = quote(parts.path.rstrip("/"), safe="/%")
        self._timeout = timeout
        self._query = {"group": source.by, "window": f"{source.window:g}"}
        self.name = f"{parts.scheme}://{parts.netloc}{self._path}"

    def pulse(self) -> Pulse:
        """The pulse of now."""
        try:
            return Pulse.from_dict(self._get("/api/live", self._query))
        except ValueError as error:
            raise AwayError(f"{self.name} is not a server of openai_meter of this version: {error}") from error

    def totals(self, since: str) -> Totals:
        """The sums since a moment."""
        data = self._get("/api/report", {"by": "provider", "since": since, "format": "json"})
        try:
            return Totals.from_dict(data["totals"])
        except (KeyError, TypeError, ValueError) as error:
            raise AwayError(f"{self.name} is not a server of openai_meter of this version: {error!r}") from error

    def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if token := settings.get("token"):
            headers["Authorization"] = f"Bearer {token}"
        from http.client import HTTPException  # noqa: PLC0415

        try:
            with closing(self._connection()) as connection:
                connection.request("GET", f"{self._path}{path}?{urlencode(query)}", headers=headers)
                answer = connection.getresponse()
                body = answer.read(_LARGEST + 1)
            if answer.status != 200:
                raise AwayError(self._refused(answer.status, body))
            data = json.loads(body) if len(body) <= _LARGEST else None
        except (OSError, HTTPException) as error:
            raise AwayError(f"{self.name} does not answer: {error or type(error).__name__}") from error
        except ValueError as error:
            raise AwayError(f"{self.name} is not a server of openai_meter: its answer is not JSON") from error
        if not isinstance(data, dict):
            raise AwayError(f"{self.name} is not a server of openai_meter: its answer is not a JSON object")
        return data

    def _connection(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - not for ledgers

        assert self._host is not None
        if self._secure:
            return HTTPSConnection(self._host, self._port, timeout=self._timeout)
        return HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _refused(self, status: int, body: bytes) -> str:
        if status in {401, 403}:
            return f"{self.name} needs a token ({status}): set {_TOKEN} to the token of the server"
        try:
            message = f": {json.loads(body)['error']['message']}"
        except (ValueError, KeyError, TypeError):
            message = ""
        return f"{self.name} answered {status}{message}"

    def close(self) -> None:
        """Does nothing: each request has a connection of its own."""
