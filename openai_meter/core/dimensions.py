"""Totals by any dimension: each call belongs to one combination of values, and every breakdown adds combinations up.

So adding a call is one sum, whatever breakdown is read later, and the rows of every breakdown add up to the totals.

Users, sessions and tags may have any number of names; the number that is kept is bounded. Beyond the bounds
new names share a row, such as ``(other sessions)``; names that are known go on as before. A call finds the same
combination at any later time, because no decision is changed later: known values stay known, and a
table that was full stays full.

A new dimension is a row in :data:`_DIMENSIONS`, a value in :func:`combination` and a place in :data:`_GIVEN_UP`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from openai_meter.core.call import Call
from openai_meter.core.totals import NOTHING, Sum, Totals, summed
from openai_meter.errors import ConfigurationError

__all__ = [
    "DIMENSIONS",
    "OTHER_MODELS",
    "UNATTRIBUTED",
    "UNKNOWN_MODEL",
    "CounterHistory",
    "Table",
    "breakdown",
    "checked",
    "combination",
    "key_of",
    "overflow_calls",
    "plain_key",
    "read_key",
    "value_of",
]  # fmt: skip

VALUES = 1_000
"""The distinct values that each dimension, and each tag, can have."""
NAMES = 100
"""The distinct names that tags can have."""
COMBINATIONS = 10_000
"""The number of combinations from which on new ones lose a dimension; each lost dimension allows a twentieth more."""

UNATTRIBUTED = "(unattributed)"
"""The row of calls without a value in a dimension."""
UNKNOWN_MODEL = "(unknown model)"
"""The row of calls whose model neither the request nor the answer names."""
NO_BLOCK = "(no block)"
OTHER_MODELS = "(other models)"
"""The row of all models beyond the first thousand: users of a program may name any number of models."""

Key = tuple[Any, ...]
"""A combination: the values in the order of :data:`DIMENSIONS`; ``None`` if not known, :data:`_OTHER` if folded."""


class _Dimension(NamedTuple):
    name: str
    missing: str
    """The row of calls that have no value."""
    other: str
    """The row of values beyond the bounds."""


_DIMENSIONS = (
    _Dimension("model", UNKNOWN_MODEL, OTHER_MODELS),
    _Dimension("agent", UNATTRIBUTED, "(other agents)"),
    _Dimension("operation", UNATTRIBUTED, "(other operations)"),
    _Dimension("user", UNATTRIBUTED, "(other users)"),
    _Dimension("session", UNATTRIBUTED, "(other sessions)"),
    _Dimension("tag", UNATTRIBUTED, "(other tags)"),
    _Dimension("endpoint", UNATTRIBUTED, "(other endpoints)"),
    _Dimension("provider", UNATTRIBUTED, "(other providers)"),
    _Dimension("block", NO_BLOCK, "(other blocks)"),
    _Dimension("organization", UNATTRIBUTED, "(other organizations)"),
    _Dimension("project", UNATTRIBUTED, "(other projects)"),
)
DIMENSIONS = tuple(one.name for one in _DIMENSIONS)
"""What totals can be had by. There is also ``tag:NAME``, by the values of one tag."""

_TAG = DIMENSIONS.index("tag")
_OTHER_TAGS = _DIMENSIONS[_TAG].other
_TAGGED = "tag:"
# The order in which a full table drops dimensions: first those with usually the most names.
_GIVEN_UP = tuple(
    DIMENSIONS.index(name)
    for name in (
        "session", "user", "tag", "block", "operation", "agent", "project", "organization", "provider", "endpoint",
        "model",
    )
)  # fmt: skip


class _Other:
    """Stands for all values beyond the bounds. Not a text, as a program may use any text as a name."""

    def __repr__(self) -> str:
        return "(other)"


_OTHER = _Other()


def combination(call: Call) -> Key:
    """The combination of a call, by its own fields."""
    return key_of(
        call.model, call.agent, call.operation, call.user, call.session, call.tags, call.endpoint, call.provider,
        call.block, call.organization, call.project,
    )  # fmt: skip


def key_of(  # noqa: PLR0917 - in the order of the dimensions
    model: str | None,
    agent: str | None,
    operation: str | None,
    user: str | None,
    session: str | None,
    tags: Mapping[str, str],
    endpoint: str,
    provider: str,
    block: str | None,
    organization: str | None = None,
    project: str | None = None,
) -> Key:
    """The combination of these values."""
    return (
        model, agent, operation, user, session, tuple(sorted(tags.items())) if tags else None, endpoint, provider,
        block, organization, project,
    )  # fmt: skip


def plain_key(key: Key) -> list[Any]:
    """A combination as plain JSON values; ``true`` stands for a value beyond the bounds."""

    def plain(value: Any) -> Any:
        return True if value is _OTHER else [*map(plain, value)] if isinstance(value, tuple) else value

    return [*map(plain, key)]


def read_key(values: Iterable[Any]) -> Key:
    """The inverse of :func:`plain_key`. Keys of earlier versions end before the organization and the project."""

    def read(value: Any) -> Any:
        return _OTHER if value is True else tuple(map(read, value)) if isinstance(value, list) else value

    key = tuple(map(read, values))
    return (*key, *[None] * (len(DIMENSIONS) - len(key)))


def value_of(call: Any, dimension: str) -> str | None:
    """The value of a dimension of what has the fields of a call; ``None`` if there is none."""
    if dimension.startswith(_TAGGED):
        tag: str | None = call.tags.get(dimension[len(_TAGGED) :])
        return tag
    if dimension == "tag":
        return _written(sorted(call.tags.items())) or None
    value: str | None = getattr(call, dimension)
    return value


class Table:
    """The sum of each combination. Not thread-safe: the caller holds the lock of the store."""

    __slots__ = ("_known", "_known_tags", "sums")

    def __init__(self) -> None:
        self.sums: dict[Key, Sum] = {}
        self._known: tuple[set[Any], ...] = tuple(set() for _ in DIMENSIONS)
        self._known_tags: dict[str, set[str]] = {}

    def find(self, call: Call) -> tuple[Key, Sum | None]:
        """The combination that a call counts for, and its sum so far. The same call always has the same one."""
        key = combination(call)
        found = self.sums.get(key)
        if found is None:  # a new combination, or one that is folded
            key = self._fold(key)
            found = self.sums.get(key)
        return key, found

    def copy(self) -> Table:
        """Another table with the same sums, and the same bounds."""
        twin = Table()
        twin.sums, twin._known, twin._known_tags = self.sums.copy(), self._known, self._known_tags
        return twin

    def _fold(self, key: Key) -> Key:
        """The combination, with its values beyond the bounds replaced."""
        values = [
            value if value is None else self._fold_tags(value) if place == _TAG else _within(known, value)
            for place, (value, known) in enumerate(zip(key, self._known, strict=True))
        ]
        key, room = tuple(values), COMBINATIONS
        for place in _GIVEN_UP:
            if key in self.sums or len(self.sums) < room:
                break
            room += COMBINATIONS // 20
            if values[place] is not None:
                values[place] = _OTHER
                key = tuple(values)
        return key

    def _fold_tags(self, tags: tuple[tuple[str, str], ...]) -> tuple[tuple[Any, Any], ...]:
        folded: list[tuple[Any, Any]] = []
        nameless = False
        for name, value in tags:
            known = self._known_tags.get(name)
            if known is None and len(self._known_tags) < NAMES:
                known = self._known_tags[name] = set()
            if known is None:
                nameless = True
            else:
                folded.append((name, _within(known, value)))
        if nameless:
            folded.append((_OTHER, _OTHER))  # at the end, where it is looked for
        return tuple(folded)


def _within(known: set[Any], value: Any) -> Any:
    """The value, if it is known or there is room for it."""
    if value not in known:
        if len(known) >= VALUES:
            return _OTHER
        known.add(value)
    return value


# --- reading ----------------------------------------------------------------------------------------------------------

Label = Callable[[Key], str]


def checked(dimensions: tuple[str, ...]) -> tuple[Label, ...]:
    """Functions that return the name of the row of a combination, one for each of some dimensions.

    Raises:
        ConfigurationError: there is no such dimension, or none is named.
    """
    names = ", ".join(f'"{name}"' for name in DIMENSIONS)
    if not dimensions:
        raise ConfigurationError(f'name what the totals are to be by: one or more of {names}, "tag:NAME"')
    for name in dimensions:
        if name not in DIMENSIONS and not (isinstance(name, str) and len(name) > len(_TAGGED) and name[:4] == _TAGGED):
            raise ConfigurationError(f'there are no totals by {name!r}; there are totals by {names} and "tag:NAME"')
    return tuple(map(_label, dimensions))


def _label(name: str) -> Label:
    if name.startswith(_TAGGED):
        tag = name.removeprefix(_TAGGED)
        return lambda key: _tag_value(key[_TAG], tag)
    place = DIMENSIONS.index(name)
    _, missing, other = _DIMENSIONS[place]
    written = _written if place == _TAG else str

    def label(key: Key) -> str:
        value = key[place]
        return other if value is _OTHER else written(value) if value else missing

    return label


def _written(tags: Iterable[tuple[Any, Any]]) -> str:
    """Tags as one text: ``env=prod, team=forms``, in the order of their names."""
    return ", ".join(_OTHER_TAGS if name is _OTHER else f"{name}={value}" for name, value in tags)


def _tag_value(tags: Any, tag: str) -> str:
    if tags is None:
        return UNATTRIBUTED
    # If some names of tags were not kept, this one may be one of them.
    value = _OTHER if tags is _OTHER else dict(tags).get(tag, _OTHER if tags[-1][0] is _OTHER else None)
    return _OTHER_TAGS if value is _OTHER else str(value) if value else UNATTRIBUTED


def breakdown(sums: Mapping[Key, Sum], labels: tuple[Label, ...]) -> Mapping[tuple[str, ...], Totals]:
    """The totals per row, in the order in which the rows were first seen; together they are those of all sums."""
    rows: dict[tuple[str, ...], list[Sum]] = {}
    for key, one in sums.items():
        rows.setdefault(tuple([label(key) for label in labels]), []).append(one)
    return {row: summed(parts).totals() for row, parts in rows.items()}


class CounterHistory:
    """Sums by some dimensions that continue through every reset, for counters that must never go down.

    Remembers ``limit`` rows, for ever: later ones share the row of others. Not thread-safe: the caller holds a lock.
    """

    def __init__(self, dimensions: tuple[str, ...], limit: int) -> None:
        self.dimensions = dimensions
        self._labels = checked(dimensions) if dimensions else ()
        self._others = tuple(_DIMENSIONS[DIMENSIONS.index(name.partition(":")[0])].other for name in dimensions)
        self._limit = limit
        self._rows: dict[tuple[str, ...], Sum] = {}
        self._shown: dict[tuple[str, ...], float] = {}

    def rows(self, sums: Mapping[Key, Sum]) -> Iterable[tuple[tuple[str, ...], Sum]]:
        """The row of each combination."""
        return ((tuple([label(key) for label in self._labels]), one) for key, one in sums.items())

    def within(self, rows: Iterable[tuple[tuple[str, ...], Sum]]) -> dict[tuple[str, ...], Sum]:
        """The sums per row, up to the limit of rows; new rows become known."""
        parts: dict[tuple[str, ...], list[Sum]] = {}
        for row, one in rows:
            if row not in self._rows and len(self._rows) >= self._limit:
                row = self._others  # noqa: PLW2901
            self._rows.setdefault(row, NOTHING)
            parts.setdefault(row, []).append(one)
        return {row: summed(some) for row, some in parts.items()}

    def with_past(self, now: Mapping[tuple[str, ...], Sum]) -> dict[tuple[str, ...], Sum]:
        """Sums of known rows, with the sums before each reset."""
        return {row: summed((past, now[row])) if row in now else past for row, past in self._rows.items()}

    def forgot(self, sums: Mapping[Key, Sum]) -> None:
        """Adds the sums that a reset is about to clear."""
        self._rows = self.with_past(self.within(self.rows(sums)))

    def rising(self, counter: tuple[str, ...], value: float) -> float:
        """The value of a counter; never below the one that was shown last, as a call can get a lower price."""
        value = max(value, self._shown.get(counter, 0))
        self._shown[counter] = value
        return value

    def start_over(self) -> None:
        """Forgets everything: the counters of a forked child begin at zero."""
        self._rows.clear()
        self._shown.clear()


def overflow_calls(sums: Mapping[Key, Sum]) -> int:
    """How many calls count in a row of others, in whatever dimension."""
    return sum(one.calls for key, one in sums.items() if _OTHER in key or _OTHER in dict(key[_TAG] or ()).values())
