"""Where a live view gets its pulses from: a ledger, or a server of openai_meter."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode, urlsplit

from openai_meter.alerts import METRICS, Threshold
from openai_meter.core.totals import Totals
from openai_meter.errors import ConfigurationError, LedgerError
from openai_meter.metering.pulse import Pulse, checked_window, of_ledger

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from openai_meter.ledger import Ledger

__all__ = ["AwayError", "Feed", "LedgerFeed", "Source", "UrlFeed", "feed_of", "limits_of"]

_LEDGER = "OPENAI_METER_LEDGER"
_TOKEN = "OPENAI_METER_TOKEN"  # noqa: S105 - the name of a variable
_LARGEST = 4_000_000
"""Bytes of an answer that are read at most: a pulse has some ten thousand."""


class AwayError(Exception):
    """The source gives no answer now; the message says why. Later it may."""


class Source(NamedTuple):
    """What the command line says of the source."""

    ledger: str | None = None
    url: str | None = None
    by: str = "model"
    window: float = 300.0
    timezone: str | None = None
    limits: tuple[Threshold, ...] = ()


class Feed(Protocol):
    """Gives a pulse whenever it is asked; for one thread at a time."""

    name: str
    """The source as it is shown."""

    def pulse(self) -> Pulse:
        """What is going on now.

        Raises:
            AwayError: the source cannot be read now.
        """
        raise NotImplementedError

    def totals(self, since: str) -> Totals:
        """The sums since a moment, as people say it.

        Raises:
            AwayError: the source cannot be read now.
            ConfigurationError: that is not a time.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of the source."""
        raise NotImplementedError


def feed_of(source: Source, timeout: float = 5.0) -> Feed:
    """The feed that the command line names; nothing is connected yet.

    Args:
        source: what it says.
        timeout: seconds that a server may take for each part of its answer.

    Raises:
        ConfigurationError: there is no such source, or it cannot be asked that.
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
    url = source.ledger or os.environ.get(_LEDGER)
    if not url:
        raise ConfigurationError(
            f"name the source: --ledger sqlite:///usage.db, {_LEDGER} in the environment, or --url http://127.0.0.1:3000"
        )
    return LedgerFeed(source._replace(ledger=url))


def limits_of(said: Sequence[str] | None) -> tuple[Threshold, ...]:
    """Limits from the command line, each such as ``cost=5``.

    Raises:
        ConfigurationError: one cannot be read.
    """
    found = []
    for one in said or ():
        metric, equals, limit = one.partition("=")
        if not equals:
            raise ConfigurationError(
                f"--limit {one!r} is no limit; write METRIC=NUMBER, with one of {', '.join(METRICS)}"
            )
        found.append(Threshold(metric.strip(), limit.strip()))
    return tuple(found)


class LedgerFeed:
    """Pulses of a ledger: of all processes that write to it. It is opened when it is there: who looks makes none."""

    def __init__(self, source: Source) -> None:
        from openai_meter.ledger.database import checked_url, shown_url  # noqa: PLC0415 - SQLAlchemy takes time to load
        from openai_meter.ledger.periods import zone_of  # noqa: PLC0415

        assert source.ledger is not None
        self._source = source
        self._url = source.ledger
        url = checked_url(source.ledger)
        self._file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        self._zone = zone_of(source.timezone)
        self._ledger: Ledger | None = None
        self.name = shown_url(url)

    def pulse(self) -> Pulse:
        """What is going on now."""
        one = self._source
        try:
            return of_ledger(self._opened(), one.by, window=one.window, zone=self._zone, thresholds=one.limits)
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


class UrlFeed:
    """Pulses of a server, by ``GET /api/live``. Follows no redirect, and uses no proxy: the token goes nowhere else."""

    def __init__(self, source: Source, timeout: float) -> None:
        assert source.url is not None
        try:
            parts = urlsplit(source.url)
            self._host, self._port = parts.hostname, parts.port
        except ValueError:
            raise ConfigurationError(f"url={source.url!r} cannot be read; use such as http://127.0.0.1:3000") from None
        if parts.scheme not in {"http", "https"} or not self._host or parts.query or parts.username:
            raise ConfigurationError(f"url={source.url!r} is no server; use such as http://127.0.0.1:3000")
        self._secure = parts.scheme == "https"
        self._path = quote(parts.path.rstrip("/"), safe="/%")
        self._timeout = timeout
        self._question = {"group": source.by, "window": f"{source.window:g}"}
        self.name = f"{parts.scheme}://{parts.netloc}{self._path}"

    def pulse(self) -> Pulse:
        """What is going on now."""
        try:
            return Pulse.from_dict(self._get("/api/live", self._question))
        except ValueError as error:
            raise AwayError(f"{self.name} is no server of openai_meter, or of another version: {error}") from error

    def totals(self, since: str) -> Totals:
        """The sums since a moment."""
        data = self._get("/api/report", {"by": "provider", "since": since, "format": "json"})
        try:
            return Totals.from_dict(data["totals"])
        except (KeyError, TypeError, ValueError) as error:
            raise AwayError(f"{self.name} is no server of openai_meter, or of another version: {error!r}") from error

    def _get(self, path: str, question: Mapping[str, str]) -> dict[str, Any]:
        headers = {"Accept": "application/json"}
        if token := os.environ.get(_TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        from http.client import HTTPException  # noqa: PLC0415

        try:
            with closing(self._connection()) as connection:
                connection.request("GET", f"{self._path}{path}?{urlencode(question)}", headers=headers)
                answer = connection.getresponse()
                body = answer.read(_LARGEST + 1)
            if answer.status != 200:
                raise AwayError(self._refused(answer.status, body))
            data = json.loads(body) if len(body) <= _LARGEST else None
        except (OSError, HTTPException) as error:
            raise AwayError(f"{self.name} does not answer: {error or type(error).__name__}") from error
        except ValueError as error:
            raise AwayError(f"{self.name} is no server of openai_meter: it does not answer in JSON") from error
        if not isinstance(data, dict):
            raise AwayError(f"{self.name} is no server of openai_meter: its answer is no JSON object")
        return data

    def _connection(self) -> HTTPConnection:
        from http.client import HTTPConnection, HTTPSConnection  # noqa: PLC0415 - not for ledgers

        assert self._host is not None
        if self._secure:
            return HTTPSConnection(self._host, self._port, timeout=self._timeout)
        return HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _refused(self, status: int, body: bytes) -> str:
        if status in {401, 403}:
            return f"{self.name} wants a token ({status}): put that of the server into {_TOKEN}"
        try:
            said = f": {json.loads(body)['error']['message']}"
        except (ValueError, KeyError, TypeError):
            said = ""
        return f"{self.name} answered {status}{said}"

    def close(self) -> None:
        """Does nothing: each question has a connection of its own."""
