"""Sums of calls: ``Totals`` as they are read, and ``Sum``, which a call is added to in a microsecond."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.core.call import ESTIMATED, FAILURES, Call
from openai_meter.core.formatting import plain_line
from openai_meter.core.money import exact, pico, simplest, usd
from openai_meter.core.public import get_state, public, set_state
from openai_meter.core.usage import COUNTS, Usage

__all__ = ["NOTHING", "NOT_PRICED", "Sum", "Totals", "Unpriced", "counted", "summed"]

NOT_PRICED = frozenset({"unpriced", "partial"})
"""The statuses of a cost that is unknown, or known only in part."""

_NO_USAGE = Usage(0, 0, 0)


@public
@dataclass(frozen=True, slots=True)
class Totals:
    """The sum over a number of calls, as it was at one moment.

    Token counts are sums over the calls whose usage is known; ``unmeasured_calls`` counts the others.
    """

    calls: int = 0
    errors: int = 0
    """Calls that raised, or that the API answered as failed."""
    unmeasured_calls: int = 0
    """Calls that the API may have billed without reporting their usage."""
    estimated_calls: int = 0
    """Calls whose token counts are estimates, as the API did not report them."""
    usage: Usage = _NO_USAGE
    cost_pico: int | Fraction | None = 0
    """The sum of all costs that are known, in pico-dollars; ``None`` if there are calls and none has a price."""
    estimated_cost_pico: int | Fraction = 0
    """The part of the cost that is based on estimates."""
    unpriced_calls: int = 0
    """Calls whose cost is unknown, or known only in part."""
    first_call_at: datetime | None = None
    last_call_at: datetime | None = None
    retries: int = 0
    """How often the SDK sent a request again, where that is known (:attr:`Call.attempts`)."""

    @property
    def cost(self) -> Decimal | None:
        """The exact cost in US dollars of all calls whose price is known; ``None`` if none is known."""
        return None if self.cost_pico is None else usd(self.cost_pico)

    @property
    def estimated_cost(self) -> Decimal:
        """The part of :attr:`cost` that is based on estimates, in US dollars."""
        return usd(self.estimated_cost_pico)

    def __getattr__(self, name: str) -> Any:
        # Every count of Usage is a count of the totals, under the same name: totals.input_tokens.
        if name in _USAGE_NAMES:
            return getattr(self.usage, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getstate__(self) -> dict[str, Any]:
        return get_state(self)

    def __setstate__(self, state: Mapping[str, Any] | Sequence[Any]) -> None:
        set_state(self, state, _FIRST_FIELDS)

    def __repr__(self) -> str:
        """The same as :func:`str`, in the form of an object: ``<Totals: 8 calls, 5,137 tokens, $0.00162>``."""
        return f"<Totals: {self}>"

    def __str__(self) -> str:
        """One line for people: ``8 calls, 5,137 tokens, $0.00162, 1 error``; what is unknown is marked."""
        tokens = None if self.calls and self.unmeasured_calls == self.calls else self.usage.total_tokens
        more = [f"{self.errors:,} error{'s' * (self.errors != 1)}"] if self.errors else []
        more += [f"{self.retries:,} retr{'y' if self.retries == 1 else 'ies'}"] if self.retries else []
        more += [f"{self.unmeasured_calls:,} of unknown size"] if self.unmeasured_calls and tokens is not None else []
        more += (
            [f"{self.unpriced_calls:,} without a full price"] if self.unpriced_calls and self.cost is not None else []
        )
        calls = f"{self.calls:,} call{'s' * (self.calls != 1)}"
        return plain_line(calls, tokens, self.cost, more, estimated=self.estimated_calls > 0)

    def to_dict(self) -> dict[str, Any]:
        """The totals as plain JSON values."""
        return {
            "calls": self.calls,
            "errors": self.errors,
            "unmeasured_calls": self.unmeasured_calls,
            "estimated_calls": self.estimated_calls,
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "total_tokens": self.usage.total_tokens,
            **{name: getattr(self.usage, name) for name in COUNTS},
            "cost": None if self.cost is None else str(self.cost),
            "estimated_cost": str(self.estimated_cost),
            "unpriced_calls": self.unpriced_calls,
            "first_call_at": self.first_call_at and self.first_call_at.isoformat(),
            "last_call_at": self.last_call_at and self.last_call_at.isoformat(),
            "retries": self.retries,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Totals:
        """The inverse of :meth:`to_dict`; keys that this version does not know are passed over.

        Amounts that no decimal number can express may have their fraction next to them, as reports write it.

        Raises:
            KeyError: a key is missing.
            TypeError: a value is not what it should be.
            ValueError: a value is not what it should be.
        """
        return cls(
            calls=int(data["calls"]),
            errors=int(data["errors"]),
            unmeasured_calls=int(data["unmeasured_calls"]),
            estimated_calls=int(data["estimated_calls"]),
            usage=Usage.from_dict({name: _number(data[name]) for name in _USAGE_NAMES if name in data}),
            cost_pico=_amount(data, "cost"),
            estimated_cost_pico=_amount(data, "estimated_cost") or 0,
            unpriced_calls=int(data["unpriced_calls"]),
            first_call_at=_moment(data["first_call_at"]),
            last_call_at=_moment(data["last_call_at"]),
            retries=int(data.get("retries", 0)),
        )


_FIRST_FIELDS = (
    "calls", "errors", "unmeasured_calls", "estimated_calls", "usage", "cost_pico", "estimated_cost_pico",
    "unpriced_calls", "first_call_at", "last_call_at",
)  # fmt: skip
"""The fields of version 0.1, in their order: its pickles have no names."""


def _amount(data: Mapping[str, Any], name: str) -> int | Fraction | None:
    if (fraction := data.get(f"{name}_pico")) is not None:
        return simplest(Fraction(fraction))
    return None if data[name] is None else simplest(pico(exact(data[name], name)))


def _number(value: Any) -> float | None:
    if value is not None and not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no count")
    return value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


_USAGE_NAMES = frozenset({"input_tokens", "output_tokens", "total_tokens", *COUNTS})


def _adder() -> Callable[[tuple[Any, ...], Usage], tuple[Any, ...]]:
    """A function that adds the counts of a usage to sums of them, in the order of ``COUNTS``.

    Written out field by field it takes a quarter of the time of a loop, and it runs on every call.
    """
    sums = ", ".join(f"sum{place}" for place in range(len(COUNTS)))
    added = ", ".join(f"sum{place} + usage.{name}" for place, name in enumerate(COUNTS))
    names: dict[str, Any] = {}
    exec(f"def plus(sums, usage):\n {sums}, = sums\n return {added},", names)  # noqa: S102 - the names are those of Usage
    plus: Callable[[tuple[Any, ...], Usage], tuple[Any, ...]] = names["plus"]
    return plus


_plus_counts = _adder()
_NO_COUNTS: tuple[Any, ...] = (0,) * len(COUNTS)


def counted(  # noqa: PLR0917 - by position: every call comes here
    status: str, usage_source: str, cost_status: str, cost: object, tokens: int | None, other_use: object
) -> tuple[bool, bool, bool, bool, bool]:
    """What one call adds to the five counts of calls, in every sum of the package.

    Args:
        status: the status of the call.
        usage_source: the source of its usage.
        cost_status: the status of its cost.
        cost: its cost; ``None`` is unknown.
        tokens: its total tokens; ``None`` is unknown.
        other_use: what the API bills instead of tokens (seconds, characters, images), if there is any.

    Returns:
        Whether it is an error; whether the API may have billed it without a known amount; whether its tokens are an
        estimate; whether its cost is unknown, or known only in part; whether its cost is unknown.
    """
    return (
        status in FAILURES,
        tokens is None and not other_use and cost_status != "free",
        usage_source in ESTIMATED,
        cost_status in NOT_PRICED,
        cost is None,
    )


class Sum(NamedTuple):
    """A sum that calls are added to. A new one replaces the old one in one step, which no interrupt splits."""

    calls: int = 0
    errors: int = 0
    unmeasured: int = 0
    guessed: int = 0
    """Calls whose tokens are estimates."""
    input: int = 0
    output: int = 0
    total: int = 0
    counts: tuple[Any, ...] = _NO_COUNTS
    """The sums of the counts of ``Usage``, in the order of ``COUNTS``."""
    cost: int | Fraction = 0
    estimated: int | Fraction = 0
    unpriced: int = 0
    """Calls without a price, or with a partial one."""
    unknown: int = 0
    """Calls without any price."""
    first: datetime | None = None
    last: datetime | None = None
    retries: int = 0
    tokenless: int = 0
    """Calls without a number of tokens: it is unknown, or the call is free or billed by other units."""

    def plus(self, call: Call) -> Sum:
        """The sum with one more call."""
        (
            calls, errors, unmeasured, guessed, input_, output, total, counts, cost, estimated, unpriced, unknown,
            first, last, retries, tokenless,
        ) = self  # fmt: skip
        usage = call.usage
        tokens = usage.total_tokens
        amount = call.cost_pico
        failed = no_measure = guess = no_price = no_cost = False
        # counted() for almost every call, without the call: test_totals holds both equal.
        if (
            amount is None
            or tokens is None
            or call.status != "ok"
            or call.usage_source != "api"
            or call.cost_status != "priced"
        ):
            failed, no_measure, guess, no_price, no_cost = counted(
                call.status, call.usage_source, call.cost_status, amount, tokens,
                tokens is None and (usage.seconds or usage.characters or usage.images),
            )  # fmt: skip
            tokenless += tokens is None
        if amount is not None:
            cost += amount
            if call.cost_estimated:
                estimated += amount
        if (attempts := call.attempts) != 1 and attempts is not None:
            retries += attempts - 1
        at = call.started_at
        # Calls arrive as they end: the first to begin need not be the first to arrive.
        return _new(Sum, (
            calls + 1,
            errors + failed,
            unmeasured + no_measure,
            guessed + guess,
            input_ + (usage.input_tokens or 0),
            output + (usage.output_tokens or 0),
            total + (tokens or 0),
            _plus_counts(counts, usage),
            cost,
            estimated,
            unpriced + no_price,
            unknown + no_cost,
            at if first is None or at < first else first,
            at if last is None or at > last else last,
            retries,
            tokenless,
        ))  # fmt: skip

    def plus_plain(  # noqa: PLR0917 - by position, as plus() has them
        self,
        calls: int,
        tokens_in: int,
        tokens_out: int,
        total: int,
        cached: int,
        written: int,
        reasoning: int,
        cost: int | Fraction,
        first: datetime,
        last: datetime,
    ) -> Sum:
        """The sum with some more calls that ended well, have a full price and no other counts than these."""
        cached_before, written_before, long_lived, reasoning_before, *others = self.counts
        counts = cached_before + cached, written_before + written, long_lived, reasoning_before + reasoning, *others
        return self._replace(
            calls=self.calls + calls,
            input=self.input + tokens_in,
            output=self.output + tokens_out,
            total=self.total + total,
            counts=counts,
            cost=self.cost + cost,
            first=first if self.first is None or first < self.first else self.first,
            last=last if self.last is None or last > self.last else self.last,
        )

    def to_list(self) -> list[Any]:
        """The fields as plain JSON values."""
        return [_plain(value) for value in self]

    @classmethod
    def from_list(cls, values: list[Any]) -> Sum:
        """The inverse of :meth:`to_list`."""
        counted, (counts, cost, estimated, unpriced, unknown, first, last, *others) = values[:7], values[7:]
        sums = tuple(value if isinstance(value, int | float) else Fraction(value) for value in counts)
        money = [simplest(Fraction(cost)), simplest(Fraction(estimated))]
        return cls._make([*counted, sums, *money, unpriced, unknown, _moment(first), _moment(last), *others])

    def totals(self) -> Totals:
        """The sum as it is read."""
        usage = Usage(self.input, self.output, self.total, **dict(zip(COUNTS, self.counts, strict=True)))
        # Unknown is not 0: only where nothing has a price (what is free aside) is there no sum to show.
        cost = None if self.unknown and not self.cost else simplest(self.cost)
        return Totals(
            self.calls,
            self.errors,
            self.unmeasured,
            self.guessed,
            usage=usage,
            cost_pico=cost,
            estimated_cost_pico=self.estimated,
            unpriced_calls=self.unpriced,
            first_call_at=self.first,
            last_call_at=self.last,
            retries=self.retries,
        )

    def repriced(self, before: Call, after: Call) -> Sum:
        """The same sum with a new price of one call."""
        return self._replace(
            cost=self.cost + (after.cost_pico or 0) - (before.cost_pico or 0),
            estimated=self.estimated
            + (after.cost_pico or 0 if after.cost_estimated else 0)
            - (before.cost_pico or 0 if before.cost_estimated else 0),
            unpriced=self.unpriced + (after.cost_status in NOT_PRICED) - (before.cost_status in NOT_PRICED),
            unknown=self.unknown + (after.cost_pico is None) - (before.cost_pico is None),
        )


def _plain(value: Any) -> Any:
    """A field of a sum as a plain JSON value."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else str(value) if isinstance(value, Fraction) else value


_new = tuple.__new__  # what Sum(...) calls in the end, without the function in between
NOTHING = Sum()


def summed(sums: Iterable[Sum]) -> Sum:
    """The sum over sums. Adds column by column: thousands of them are added in some milliseconds."""
    columns = [*zip(*sums, strict=True)]
    if not columns:
        return NOTHING
    (
        calls, errors, unmeasured, guessed, inputs, outputs, total, counts, cost, estimated, unpriced, unknown, first,
        last, retries, tokenless,
    ) = columns  # fmt: skip
    return Sum(
        sum(calls),
        sum(errors),
        sum(unmeasured),
        sum(guessed),
        sum(inputs),
        sum(outputs),
        sum(total),
        tuple(map(sum, zip(*counts, strict=True))),
        sum(cost),
        sum(estimated),
        sum(unpriced),
        sum(unknown),
        min((at for at in first if at is not None), default=None),
        max((at for at in last if at is not None), default=None),
        sum(retries),
        sum(tokenless),
    )


class Unpriced(NamedTuple):
    """Calls of one model that have no full price for one reason."""

    model: str
    reason: str
    calls: int
    tokens: int
