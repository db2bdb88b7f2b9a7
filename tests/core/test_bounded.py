"""The dict that forgets its oldest entries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from openai_meter.core.bounded import Bounded


def test_oldest_entries_are_removed_first() -> None:
    """Beyond its limit a bounded dict removes the entry that was put first; putting again makes an entry new."""
    some: Bounded[str, int] = Bounded(2)
    some.put("a", 1)
    some.put("b", 2)
    some.put("a", 3)
    some.put("c", 4)
    assert (some.get("a"), some.get("b"), some.get("c"), len(some)) == (3, None, 4, 2)
    assert some.values() == [3, 4]
    assert (some.pop("a"), some.pop("a"), len(some)) == (3, None, 1)
    some.clear()
    assert len(some) == 0


def test_one_of_many_threads_gets_a_claim() -> None:
    """A key can be claimed once, also with equal values and by many threads at once."""
    some: Bounded[int, None] = Bounded(10_000)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: some.claim(number % 500, None), range(4_000)))
    assert sum(won) == 500
    assert some.get(3) is None


def test_claims_are_bounded() -> None:
    """Endless claims remove the oldest ones."""
    some: Bounded[int, int] = Bounded(3)
    assert all(some.claim(number, number) for number in range(10))
    assert some.values() == [7, 8, 9]
