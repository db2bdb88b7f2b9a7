"""What every store of budgets does: the same tests on memory, SQLite, PostgreSQL and Redis."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from openai_meter import ConfigurationError, MissingExtraError
from openai_meter.budgets.stores import Order, Report, Row, Stage, Stored, open_store
from openai_meter.budgets.stores.protocol import SHARE, grant_of

HIGH = 1 << 61


def test_granted_slice_counts_for_all_processes(store, key):
    """A slice is at most a sixteenth of the rest, and at least what the call needs."""
    assert store.read([key]) == (Row(0, 0),)
    assert store.take(key + "one", [Order(key, 1_600, 500, 10)]) == ((100,), (Row(0, 100),))
    assert store.take(key + "two", [Order(key, 1_600, 500, 300)]) == ((300,), (Row(0, 400),))
    assert store.take(key + "two", [Order(key, 1_600, 5, 1)]) == ((5,), (Row(0, 405),))
    assert store.take(key + "one", [Order(key, 1_600, 9_999, 1_196)]) == (None, (Row(0, 405),))
    assert store.take(key + "one", [Order(key, 1_600, 9_999, 1_195)]) == ((1_195,), (Row(0, 1_600),))
    assert store.read([key, key + "other"]) == (Row(0, 1_600), Row(0, 0))


def test_slices_of_several_keys_are_all_granted_or_none(store, key):
    """If the rest of one key is too small, the others stay unchanged."""
    orders = [Order(f"{key}{name}", limit, 10, 10) for name, limit in (("b", 100), ("a", 5), ("c", 100))]
    taken = store.take(key + "one", orders)
    assert taken.grants is None
    assert store.read([order.key for order in orders]) == (Row(), Row(), Row())
    assert store.take(key + "one", [orders[0], orders[2]]).grants == (10, 10)


def test_repeated_report_counts_its_spending_once(store, key):
    """A report that is sent again because its answer was lost counts nothing twice; the slice is the one of
    the report."""
    store.take(key + "one", [Order(key, 1_000, 60, 60)])
    assert store.report(key + "one", 1, [Report(key, 25, 30)]) == (Row(25, 30),)
    assert store.report(key + "one", 1, [Report(key, 25, 30)]) == (Row(25, 30),)
    assert store.report(key + "one", 2, [Report(key, 30, 0)]) == (Row(55, 0),)
    assert store.report(key + "two", 1, [Report(key, 5, -5)]) == (Row(60, -5),)
    assert store.report(key + "two", 2, []) == ()


def test_store_that_lost_its_data_continues_from_the_sums_of_processes(store, key):
    """The spent sum is at least the sum that a process has read, and at least that of the ledger."""
    assert store.report(key + "one", 1, [Report(key, 5, 0, known=500)]) == (Row(500, 0),)
    store.raise_to(key, 400)
    assert store.read([key]) == (Row(500, 0),)
    store.raise_to(key, 700, ends_at=4e9)
    assert store.read([key]) == (Row(700, 0),)


def test_slice_of_a_dead_process_is_charged(store, key):
    """A dead process may have spent its slice; a running one keeps its own."""
    store.take(key + "dead", [Order(key, 1_000, 40, 40)])
    store.report(key + "dead", 1, [Report(key, 10, 30)])
    assert store.reap(3_600) == ()
    assert key + "dead" in store.reap(-1)
    assert store.read([key]) == (Row(40, 0),)
    assert store.reap(-1) == ()


def test_unused_part_of_a_slice_of_an_owner_that_is_gone_is_free_again(store, key):
    """What is known to be unused goes back, at most the slice; only the owners that are named are settled for."""
    keys = [f"{key}|{name}" for name in "abcd"]
    store.take(key + "dead", [Order(one, 10**15, 10**12, 10**12) for one in keys])
    store.report(key + "dead", 1, [Report(keys[3], 7, -7)])
    store.take(key + "other", [Order(keys[0], 10**15, 5, 5)])
    free = {keys[0]: 4 * 10**11 + 1, keys[1]: 10**13, keys[2]: -5, keys[3]: 3}
    assert store.reap(3_600, {key + "dead": free.__getitem__}) == ()
    assert store.reap(-1, {key + "dead": free.__getitem__, key + "unknown": free.__getitem__}) == (key + "dead",)
    assert store.read(keys) == (Row(6 * 10**11 - 1, 5), Row(0, 0), Row(10**12, 0), Row(7, 0))
    assert store.reap(-1, {}) == ()
    assert key + "other" in store.reap(-1)


def test_stage_is_announced_once(store, key):
    """Of sixteen that ask at the same time, one announces it; a stage includes those below, and another limit none."""
    with ThreadPoolExecutor(16) as pool:
        first = list(pool.map(lambda _: store.announce(Stage(key, 100, 8_000, 4e9)), range(16)))
    assert sum(first) == 1
    assert not store.announce(Stage(key, 100, 5_000))
    assert store.announce(Stage(key, 100, 10_000))
    assert not store.announce(Stage(key, 100, 10_000))
    assert store.announce(Stage(key, HIGH, 5_000))
    assert store.announce(Stage(f"{key}|refused", 100, 0))
    assert not store.announce(Stage(f"{key}|refused", 100, 0))
    assert not [row for row in store.stored() if row.key.endswith(key)]


def test_store_lists_each_budget_with_its_limit(store, key):
    """The store has everything that a report of all budgets needs."""
    store.take(key, [Order(f"{key}|a", 100, 5, 5, ends_at=4_000_000_000.0), Order(f"{key}|b", 70, 3, 3)])
    store.report(key, 1, [Report(f"{key}|a", 2, 3)])
    found = [row for row in store.stored() if row.key.startswith(key)]
    assert found == [Stored(f"{key}|a", 100, 2, 3, 4e9), Stored(f"{key}|b", 70, 0, 3, float("inf"))]


@pytest.mark.parametrize("amount", [1, 10**9 - 1, 10**9, 10**9 + 1, 2**53 + 1, 9_007_199_254_740_993, HIGH - 1])
def test_store_keeps_amounts_exactly(store, key, amount):
    """Every whole number up to $2 million in pico-dollars is kept to its last digit."""
    limit = HIGH
    assert store.take(key + "one", [Order(key, limit, amount, amount)]).grants == (amount,)
    assert store.take(key + "one", [Order(key, limit, limit, limit - amount + 1)]).grants is None
    assert store.report(key + "one", 1, [Report(key, amount, 0)]) == (Row(amount, 0),)
    free = limit - amount
    assert store.take(key + "one", [Order(key, limit, limit, 1)]).grants == (max(free // SHARE, 1),)


def test_store_grants_what_the_plain_rule_grants(store, key):
    """With random orders and reports, every answer is that of the rule in plain Python."""
    chance = random.Random(7)
    row, mine, number = Row(), {"a": 0, "b": 0}, {"a": 0, "b": 0}
    for _ in range(120):
        owner = chance.choice("ab")
        if chance.random() < 0.6:
            least = chance.choice([1, 10**6, chance.randrange(1, 10**13)])
            order = Order(key, 10**16, chance.randrange(least, 10**15), least)
            grant = grant_of(order, row)
            assert store.take(key + owner, [order]).grants == (None if grant is None else (grant,))
            mine[owner] += grant or 0
            row = row._replace(granted=row.granted + (grant or 0))
        else:
            spent = chance.randrange(0, max(mine[owner], 1) + 10**6)
            number[owner] += 1
            mine[owner] -= spent
            row = Row(row.spent + spent, row.granted - spent)
            assert store.report(key + owner, number[owner], [Report(key, spent, mine[owner])]) == (row,)


def test_concurrent_owners_never_get_more_than_the_limit(store, key):
    """Sixteen threads of eight owners, two keys in both orders: no deadlock, and not one unit too many."""
    keys, granted, lock = [f"{key}x", f"{key}y"], [0, 0], threading.Lock()

    def work(n):
        places = (0, 1) if n % 2 else (1, 0)
        taken = store.take(f"{key} owner {n % 8}", [Order(keys[at], 1_000, 9, 9) for at in places])
        if taken.grants is not None:
            with lock:
                for at, grant in zip(places, taken.grants, strict=True):
                    granted[at] += grant
        return taken.grants is not None

    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(work, range(160)))
    assert sum(done) == 111
    assert granted == [999, 999]
    assert store.read(keys) == (Row(0, 999), Row(0, 999))


def test_wrong_store_url_raises_without_its_password(monkeypatch):
    """The error has the scheme only, as the rest of the URL may have a password."""
    for url in ("mysql://user:secret@host/db", "sqlite://", "usage.db", ""):
        with pytest.raises(ConfigurationError, match=r"sqlite:///usage\.db") as error:
            open_store(url)
        assert "secret" not in str(error.value)
    with pytest.raises(ConfigurationError, match="a int"):
        open_store(5)
    for name, url, extra in (("psycopg", "postgresql://h/d", "postgres"), ("redis", "redis://h", "redis")):
        monkeypatch.setitem(__import__("sys").modules, name, None)
        with pytest.raises(MissingExtraError, match=rf"openai-meter\[{extra}\]"):
            open_store(url)
