"""What one call holds in its budgets until it ends, and what calls without an upper bound have cost so far."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from openai_meter.budgets.account import Entry, queue, settle
from openai_meter.core.bounded import Bounded

if TYPE_CHECKING:
    from openai_meter.core.call import Call

__all__ = ["Hold", "Lesson", "lesson_of"]

_LESSON = 1_000


class Lesson:
    """The most that calls of one kind have cost, of the last 1,000 to 2,000: their 99.9th percentile or more."""

    __slots__ = ("_before", "_calls", "_now")

    def __init__(self) -> None:
        self._now = self._before = (0, 0)
        self._calls = 0

    def note(self, pico: int, tokens: int) -> None:
        """Adds a call that has ended. A race of two threads may lose one of the two."""
        if self._calls >= _LESSON:
            self._before, self._now, self._calls = self._now, (0, 0), 0
        self._now = (max(self._now[0], pico), max(self._now[1], tokens))
        self._calls += 1

    def highest(self) -> tuple[int, int]:
        """The most pico-dollars and tokens."""
        return max(self._now[0], self._before[0]), max(self._now[1], self._before[1])


_lessons: Bounded[tuple[str | None, str | None], Lesson] = Bounded(10_000)
"""The costs of calls without an upper bound, by model and agent."""


def lesson_of(key: tuple[str | None, str | None]) -> Lesson:
    """The lesson of a model and an agent; all threads get the same."""
    found = _lessons.get(key)
    if found is None:
        _lessons.claim(key, Lesson())
        found = _lessons.get(key) or Lesson()
    return found


class Hold:
    """The hold of one call until it ends. It is settled once; a hold that is lost is charged in full.

    Args:
        entries: the accounts and amounts.
        lesson: the costs of such calls so far, where the request has no upper bound.
    """

    __slots__ = ("_claim", "_entries", "_lesson", "_sums", "changes")

    def __init__(self, entries: list[Entry], lesson: Lesson | None = None) -> None:
        self._entries = entries
        self._lesson = lesson
        self._sums: dict[int, list[Any]] | None = None
        self._claim = [True]  # list.pop() is atomic
        self.changes: dict[str, Any] | None = None
        """Fields of the body that replace the program's own."""

    def add(self, meter: object, call: Call) -> bool:
        """Adds a record of the call, priced by a meter; ``False`` if the hold was settled before."""
        if not self._claim:
            return False
        if self._sums is None:
            self._sums = {}
        found = self._sums.setdefault(id(meter), [0, 0, False, False])
        pico, tokens, free = call.cost_pico, call.usage.total_tokens, call.cost_status == "free"
        unsure = "answer" in call.usage_unknown or call.cost_status == "partial"
        found[0] += 0 if pico is None else pico
        found[1] += tokens or 0
        found[2] = found[2] or (pico is None and not free) or unsure
        found[3] = found[3] or (tokens is None and not free) or unsure
        return True

    def settle_plain(self, pico: int, tokens: int) -> Literal[True]:
        """Counts a call whose cost and tokens are known."""
        if self._take():
            for account, amount, _ in self._entries:
                unit = account.unit
                spent = 1 if unit == "calls" else ceil(pico) if unit == "usd" else tokens
                queue.append((account, amount, spent, False))
            settle()
        return True

    def settle(self) -> None:
        """Counts the cost of the call; where it is unknown, all that was held, or more."""
        if not self._take():
            return
        sums = self._sums or {}
        for account, amount, meter in self._entries:
            unit = account.budget.unit
            pico, tokens, no_cost, no_tokens = sums.get(id(meter), (0, 0, True, True))
            if unit == "calls":
                spent, uncertain = 1, False
            elif unit == "usd":
                spent, uncertain = ceil(pico), no_cost
            else:
                spent, uncertain = tokens, no_tokens
            queue.append((account, amount, max(spent, amount) if uncertain else spent, uncertain))
        settle()
        if self._lesson is not None:
            for pico, tokens, _, _ in sums.values():
                self._lesson.note(ceil(pico), tokens)

    def release(self) -> None:
        """Releases the hold: nothing was sent."""
        if self._take():
            for account, amount, _ in self._entries:
                queue.append((account, amount, 0, False))
            settle()

    def _take(self) -> bool:
        try:
            return self._claim.pop()
        except IndexError:
            return False

    def __del__(self) -> None:
        # Work on the server that is never polled again, or a fault of the meter: it may have been billed.
        if self._claim:
            self.settle()
