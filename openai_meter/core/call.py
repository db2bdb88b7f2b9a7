"""One finished call, as a value: reports, prices, sums and ledgers are made of these."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args

from openai_meter.core import fork_safety
from openai_meter.core.deprecation import warn_renamed
from openai_meter.core.fast_init import maker
from openai_meter.core.formatting import plain_line, printable
from openai_meter.core.money import Bill, CostStatus, exact, pico, simplest, usd
from openai_meter.core.public import get_state, public, set_state
from openai_meter.core.usage import Usage

if TYPE_CHECKING:
    from openai_meter.core.evidence import Evidence
    from openai_meter.core.money import Cost, CostLine
    from openai_meter.core.sections import Section

__all__ = [
    "RENAMED_STATUSES", "Call", "Status", "UsageSource", "current_status", "make_call", "new_call",
    "new_call_id", "random_half", "wanted_status",
]  # fmt: skip

Status = Literal["ok", "incomplete", "failed", "aborted", "error"]
"""How a call ended.

``ok``: a whole answer. ``incomplete``: the model stopped early (length, content filter). ``failed``: the API answered
that the work failed. ``aborted``: the program left before the end (break, close, cancel, exit). ``error``: the call
raised; ``error_type`` names what.
"""
UsageSource = Literal["api", "tiktoken", "chars", "elapsed", "none"]
"""Where the usage comes from: the API; an estimate by a vocabulary of the model's family, by numbers of characters, or
by the time that has passed in a stream of audio; ``none`` if it is unknown."""

ESTIMATED = frozenset({"tiktoken", "chars", "elapsed"})
"""The sources that are estimates."""

FAILURES = frozenset({"error", "failed"})
"""The statuses that count as errors."""

RENAMED_STATUSES: Mapping[str, Status] = {"cut": "aborted"}
"""Statuses as earlier versions wrote them into JSON and databases, and what they are called now."""


def current_status(status: Any) -> Any:
    """The name that a status has now; what is not an old name is returned as it is."""
    return RENAMED_STATUSES.get(status, status) if isinstance(status, str) else status


def wanted_status(status: str) -> str:
    """The status that a program filters by. An old name is accepted with a ``DeprecationWarning``."""
    if status in RENAMED_STATUSES:
        warn_renamed(f"status={status!r}", f"status={RENAMED_STATUSES[status]!r}", level=4)
    return RENAMED_STATUSES.get(status, status)


class Priced(Protocol):
    """The prices by which a call was priced: a price book as it was then."""

    def lines_of(self, call: Call, /) -> tuple[CostLine, ...]:
        """The bill of the call."""


class StoredBill(NamedTuple):
    """The bill of a call that was pickled: it stands for the price book, which is not pickled."""

    lines: tuple[CostLine, ...]

    def lines_of(self, _: Call, /) -> tuple[CostLine, ...]:
        """The bill."""
        return self.lines


class _Drawn:
    """The parts of an id, which is made when it is read. Most calls are only summed up, without reading their ids."""

    __slots__ = ("_chance",)
    _chance: str


@public
@dataclass(frozen=True, slots=True)
class Call(_Drawn):
    """One finished call. Immutable, safe to share between threads; holds no prompt, no completion and no key."""

    id: str
    """A UUID of version 7: unique, and in the order of time."""
    started_at: datetime
    """When the call began, in UTC."""
    duration: float
    """Seconds from the request to the end of the answer (of a stream: until it was read)."""
    endpoint: str
    """The name of the endpoint: ``chat.completions``, ``responses``, ``embeddings``, ..."""
    provider: str
    """``openai``, ``azure``, or the host that answered."""
    model: str | None
    """The model as the API named it in its answer, else as it was requested; ``None`` if it is in neither."""
    requested_model: str | None
    status: Status
    usage: Usage
    usage_source: UsageSource
    """Where the usage comes from: the API, or an estimate; ``none``: the tokens are unknown."""
    usage_unknown: tuple[str, ...] = ()
    """What an estimate could not count (reasoning, a file, what the server keeps): then it is a lower bound."""

    response_id: str | None = None
    service_tier: str | None = None
    """The tier that served the call, as the API answered."""
    stream: bool = False
    time_to_first_token: float | None = None
    """Seconds until the first token of a stream: of text, a refusal, a tool call, audio or reasoning."""
    error_type: str | None = None
    """The class of the exception, or the API's own error code where it answered with one."""

    cost_pico: int | Fraction | None = None
    """The exact cost in pico-dollars (1e-12 USD), or ``None`` if unknown; :attr:`cost` is the same in dollars."""
    cost_status: CostStatus = "unpriced"
    """``priced``: wholly. ``partial``: the cost is that of the part that has a price. ``unpriced``: unknown, which is
    not 0. ``free``."""
    cost_reason: str | None = None
    """Why the call is not, or not wholly, priced; or why its price is approximate."""
    cost_estimated: bool = False
    """Whether a quantity in the cost is an estimate (all tokens, container sessions, tokens of a search)."""
    price_source: str | None = None
    """Whose prices: ``override``, ``overlay``, ``genai-prices VERSION``, or ``provider`` where the host stated it."""

    agent: str | None = None
    operation: str | None = None
    user: str | None = None
    session: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    block: str | None = None
    """The name of the innermost ``track()`` block that the call was made in."""
    host: str | None = None
    """The host that answered."""
    price_facts: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Rare facts that the price depends on (``usage/billing_details.py``); kept in memory only."""
    evidence: Evidence | None = field(default=None, compare=False, repr=False)
    """The facts of the request for advice (``core/evidence.py``); kept in memory only."""
    price_book: Priced | None = field(default=None, compare=False, repr=False)
    """The prices as they were when the call was priced; kept in memory only."""

    usage_rule: str | None = None
    """How an estimate was counted: with a vocabulary (``o200k_base``, ``cl100k_base``), or from characters: ``script``
    (by the script of the text, 3.8 or 3.5 a token in French) or ``plain`` (3 a token in French, 4 in all else)."""
    attempts: int | None = None
    """How often the SDK sent the request: 1 without retries. ``None`` if unknown: the call was reported by hand, or
    read from what an earlier version wrote."""

    organization: str | None = None
    """The organization that the API names in its answer: it is billed for the call."""
    project: str | None = None
    """The project that the API names in its answer."""
    request_id: str | None = None
    """The id of the request, as the API names it (``x-request-id``), for its support and its logs."""
    processing_ms: int | None = None
    """Milliseconds that the API worked on the request, as it states itself."""
    remaining_requests: int | None = None
    """Requests that the rate limit still allowed after this one."""
    remaining_tokens: int | None = None
    """Tokens that the rate limit still allowed after this request."""
    sections: tuple[Section, ...] = field(default=(), compare=False, repr=False)
    """The parts of the request, by lengths and fingerprints: for calls that were read from a ledger."""

    @property
    def cost(self) -> Decimal | None:
        """The exact cost in US dollars, or ``None`` if unknown."""
        return None if self.cost_pico is None else usd(self.cost_pico)

    @property
    def cost_lines(self) -> tuple[CostLine, ...]:
        """The bill: quantities at prices, fees and adjustments, which sum up exactly to :attr:`cost`.

        Made when it is read, from the prices that the call was priced by; a pickled call keeps its bill, and so does
        one that is read from a ledger. Empty if the call was not priced, or was read from JSON.
        """
        return Bill(() if self.price_book is None else self.price_book.lines_of(self))

    @property
    def estimated(self) -> bool:
        """Whether the tokens are an estimate."""
        return self.usage_source in ESTIMATED

    def charged(self, cost: Cost, book: Priced | None) -> Call:
        """The same call with another cost, computed by a price book."""
        return replace(
            self,
            cost_pico=cost.amount_pico,
            cost_status=cost.status,
            cost_reason=cost.reason,
            cost_estimated=cost.estimated or self.estimated,
            price_source=cost.source,
            price_book=book,
        )

    @property
    def failed(self) -> bool:
        """Whether the call counts as an error."""
        return self.status in FAILURES

    def __getstate__(self) -> dict[str, Any]:
        state = get_state(self)
        if (
            self.price_book is not None
        ):  # a price book has locks, and all prices; the pickle has only the bill of the call
            state["price_book"] = StoredBill(self.cost_lines)
        return state

    def __setstate__(self, state: Mapping[str, Any] | Sequence[Any]) -> None:
        set_state(self, state, _FIRST_FIELDS)
        object.__setattr__(self, "status", current_status(self.status))

    def __repr__(self) -> str:
        """The same as :func:`str`, in the form of an object; :meth:`to_dict` has all fields."""
        return f"<Call {self}>"

    def __str__(self) -> str:
        """One line for people: ``gpt-5-mini (chat.completions, ok), 1,130 tokens, $0.00042, 1.2 s, agent=planner``."""
        model = printable(self.model or "unknown model")
        ended = self.status if self.error_type is None else f"{self.status}: {printable(self.error_type)}"
        more = [f"{self.duration:,.1f} s"]
        more += [
            f"{name}={printable(value)}"
            for name in ("agent", "operation", "user", "session")
            if (value := getattr(self, name)) is not None
        ]
        return plain_line(
            f"{model} ({self.endpoint}, {ended})", self.usage.total_tokens, self.cost, more, estimated=self.estimated
        )

    def to_dict(self) -> dict[str, Any]:
        """The call as plain JSON values: times in ISO 8601, money as a decimal string."""
        data = {_WRITTEN_AS.get(name, name): getattr(self, name) for name in _NAMES if name not in _NOT_WRITTEN}
        data["started_at"] = self.started_at.isoformat()
        data["usage"] = self.usage.to_dict()
        data["cost"] = None if self.cost is None else str(self.cost)
        data["tags"] = dict(self.tags)
        data["usage_unknown"] = list(self.usage_unknown)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Call:
        """The inverse of :meth:`to_dict`; keys that this version does not know are passed over.

        Raises:
            ValueError: a required key is missing, or a value is not what it should be.
        """
        values = {name: data[name] for name in _NAMES if name in data and name not in (*_NOT_WRITTEN, "cost_pico")}
        try:
            values["started_at"] = datetime.fromisoformat(values["started_at"])
            values["usage"] = Usage.from_dict(values["usage"])
            values["usage_unknown"] = tuple(values.get("usage_unknown", ()))
            if (cost := data.get("cost")) is not None:
                values["cost_pico"] = simplest(pico(exact(cost, "cost")))
            values["status"] = current_status(values["status"])
            if values["status"] not in get_args(Status):
                raise ValueError(f"{values['status']!r} is not a status of a call; statuses are {get_args(Status)}")
            return cls(**values)
        except (KeyError, TypeError, ArithmeticError) as error:
            raise ValueError(f"this is not a call written by openai_meter: {error!r}") from error


def _late(unset: Any) -> Any:
    """The ``id`` of :class:`Call`, made when it is first read; all threads make the same."""

    def get(call: Call) -> str:
        try:
            return unset.__get__(call, Call)  # type: ignore[no-any-return]
        except AttributeError:
            made = _id_of(int(call.started_at.timestamp() * _TICKS), call._chance)  # noqa: SLF001 - its own module
            unset.__set__(call, made)
            return made

    return property(get, unset.__set__, doc=unset.__doc__)


Call.id = _late(Call.id)  # type: ignore[misc]
make_call = maker(Call)
"""``Call(...)``, faster."""
new_call = maker(Call, later={"id": "_chance"})
"""The same, with a random half in the place of an id: the id is made when it is read."""
_FIRST_FIELDS = (
    "id", "started_at", "duration", "endpoint", "provider", "model", "requested_model", "status", "usage",
    "usage_source", "usage_unknown", "response_id", "service_tier", "stream", "time_to_first_token", "error_type",
    "cost_pico", "cost_status", "cost_reason", "cost_estimated", "price_source", "agent", "operation", "user",
    "session", "tags", "block", "host", "price_facts", "evidence", "price_book",
)  # fmt: skip
"""The fields of version 0.1, in their order: its pickles have no names."""
_NAMES = tuple(one.name for one in fields(Call))
_NOT_WRITTEN = frozenset({"evidence", "price_book", "price_facts", "sections"})
_WRITTEN_AS = {"cost_pico": "cost"}  # in dollars


def new_call_id(now: float | None = None) -> str:
    """A new UUID of version 7 (RFC 9562, section 5.7, method 3) as text, for a call that began at ``now``.

    The 12 bits after the milliseconds hold the fraction of the millisecond, so that ids made one after the other
    sort as they were made. The random part comes from the operating system: the host program's ``random`` state is
    not touched, and a forked child does not repeat its parent's ids.
    """
    return _id_of(int((time.time() if now is None else now) * _TICKS), random_half())


def _id_of(ticks: int, chance: str) -> str:
    """An id of a time, in parts of a millisecond, and of a random half."""
    digits = f"{ticks & _HIGHEST:015x}"
    # The version (7) is before the last three digits of the time, the variant (2) before the random ones.
    return f"{digits[:8]}-{digits[8:12]}-7{digits[12:]}-{chance}"


def random_half() -> str:
    """The random half of an id: no other call gets the same."""
    try:
        return _chances.pop()  # atomic: of many threads, each gets another one
    except IndexError:
        return _random_halves()


def _random_halves() -> str:
    """Makes random halves for the next ids: returns one, and keeps the others."""
    digits = os.urandom(8 * _BATCH).hex()
    halves = [f"8{digits[at + 1 : at + 4]}-{digits[at + 4 : at + 16]}" for at in range(0, 16 * _BATCH, 16)]
    _chances.extend(halves[1:])
    return halves[0]


_TICKS = 4_096_000
"""In a second: 4096 in a millisecond."""
_HIGHEST = (1 << 60) - 1
_BATCH = 128
_chances: list[str] = []
"""Random halves for the next ids: to read each from the operating system takes longer than all the rest of an id."""
fork_safety.on_fork("call ids", after_in_child=lambda _: _chances.clear())
