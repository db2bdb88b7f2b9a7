"""Budgets that several processes share, over every store: slices, outages, crashes, ledgers."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

import openai_meter
from openai_meter import Budget, BudgetExceededError, Meter, Price
from openai_meter.budgets.desk import Desk, store_key
from openai_meter.budgets.journal import dead_owners
from openai_meter.budgets.stores import Row, StoreUnavailableError
from openai_meter.budgets.stores.memory import MemoryStore
from openai_meter.testing import fake_client

OVER_SHARED_STORES = pytest.mark.parametrize("store_kind", ["sqlite", "postgres", "redis"], indirect=True)
"""The stores of other processes: the one in memory belongs to its process."""
PRICES = {"gpt-5-mini": Price(input=1, output=10)}


def ask(client, limit=20, **more):
    return client.responses.create(model="gpt-5-mini", input="Bonjour", max_output_tokens=limit, **more)


@pytest.fixture
def name():
    return f"shared {uuid.uuid4()}"


class Member:
    """One process of a fleet: a meter, a client and a desk of its own."""

    def __init__(self, store, *budgets):
        self.meter = Meter(budgets=list(budgets), prices=PRICES, budget_store=store)
        self.desk = self.meter._budgets.desk
        self.client = openai_meter.wrap(fake_client(input_tokens=50, output_tokens=20), self.meter)

    def ask(self, **more):
        try:
            ask(self.client, **more)
        except BudgetExceededError as error:
            return error
        return None

    def close(self):
        with self.desk._trips:  # its thread makes no trip any more
            self.desk._stop = True
            self.desk._rouse()
            self.desk.report(all_idle=True)


def test_fleet_spends_nearly_the_limit_and_never_more(store, name):
    """Four processes with four threads: exactly the calls that fit are sent; at the end nothing is held."""
    budgets = [Budget(name, calls=200), Budget(f"{name} usd", usd="0.5")]
    fleet = [Member(store, *budgets) for _ in range(4)]
    sent, first_refusal, lock = [0], [], threading.Lock()

    def work(n):
        for _ in range(20):
            error = fleet[n % 4].ask()
            with lock:
                if error is None:
                    sent[0] += 1
                elif not first_refusal:
                    first_refusal.append(sent[0])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    for member in fleet:
        member.close()
    status = fleet[0].meter.budgets[name]
    assert sent[0] <= 200
    assert (status.spent, status.held, status.overdrawn) == (sent[0], 0, 0)
    assert first_refusal
    assert first_refusal[0] >= 170  # sixteen threads of one interpreter take turns of unequal length
    assert fleet[1].meter.budgets[f"{name} usd"].spent == sent[0] * Decimal("0.00025")


def test_calls_within_a_slice_are_admitted_without_the_store(store, name, monkeypatch):
    """Of a large budget, hundreds of calls are admitted with few requests to the store."""
    member = Member(store, Budget(name, calls=100_000))
    trips = []
    take = store.take
    monkeypatch.setattr(store, "take", lambda *args: trips.append(args) or take(*args))
    for _ in range(300):
        assert member.ask() is None
    assert len(trips) == 2
    member.close()


def test_unused_slices_are_returned_to_the_store(store, name):
    """What a process has not used between two reports is free for the others."""
    one, two = (Member(store, Budget(name, calls=32)) for _ in range(2))
    one.ask()
    key = store_key(next(iter(one.desk._accounts.values())))
    assert store.read([key]) == (Row(0, 2),)
    one.desk.report()
    assert store.read([key]) == (Row(1, 1),)
    one.desk.report()
    assert store.read([key]) == (Row(1, 0),)
    for _ in range(31):
        assert two.ask() is None
    error = two.ask()
    assert (error.reason, error.limit, error.spent + error.held) == ("spent", 32, 32)
    assert one.ask() is not None
    one.close()
    two.close()


class Broken:
    """A store whose connection can be cut, before or after it has done its work."""

    def __init__(self, store):
        self._store = store
        self.cut = None

    def __getattr__(self, name):
        method = getattr(self._store, name)

        def call(*args, **kwargs):
            if self.cut == "before":
                raise StoreUnavailableError("cut")
            answer = method(*args, **kwargs)
            if self.cut == "after":
                raise StoreUnavailableError("cut")
            return answer

        return call


def test_outage_is_bounded_by_the_slice_and_counts_nothing_twice(store, name):
    """Without its store a process goes on with its slice, then refuses; later, all is counted once."""
    broken = Broken(store)
    member = Member(broken, Budget(name, calls=320))
    assert member.ask() is None
    broken.cut = "before"
    sent = 1
    while (error := member.ask()) is None:
        sent += 1
    assert (error.reason, sent) == ("outage", 20)
    assert "does not answer" in str(error)
    for cut in ("before", "after", "after"):
        broken.cut = cut
        assert not member.desk.report()
    broken.cut = None
    assert member.desk.report()
    assert member.ask() is None
    member.close()
    assert store.read([store_key(next(iter(member.desk._accounts.values())))]) == (Row(21, 0),)


def test_emergency_share_lets_a_process_go_on(store, name):
    """``on_outage=0.01`` is a hundredth of the limit in each outage; it is counted when the store is back."""
    broken = Broken(store)
    member = Member(broken, Budget(name, calls=1_000, on_outage=0.01))
    broken.cut = "before"
    sent = 0
    while member.ask() is None:
        sent += 1
    assert sent == 10
    broken.cut = None
    member.desk.report()
    member.close()
    assert member.meter.budgets[name].spent == 10


def test_store_that_lost_its_data_gets_the_sums_back_from_the_processes(name):
    """When the data of the store are gone, a process sends its sums with the next request for a slice and with the next
    report.
    """
    broken = Broken(MemoryStore())
    member = Member(broken, Budget(name, calls=32))
    for _ in range(10):
        assert member.ask() is None
    member.desk.report()
    broken._store = MemoryStore()
    sent = 10
    while member.ask() is None:
        sent += 1
        member.desk.report()
    assert sent == 32
    member.close()
    assert member.meter.budgets[name].spent == 32


@OVER_SHARED_STORES
def test_slices_of_a_killed_process_are_charged(store, store_url, name):
    """After ``kill -9`` the rest of the budget can be spent by the others, and nothing is spent twice."""
    program = textwrap.dedent(f"""
        import os, signal, openai_meter
        from openai_meter import Budget, Price
        from openai_meter.testing import fake_client
        openai_meter.install(budgets=[Budget({name!r}, calls=160)], budget_store={store_url!r})
        client = fake_client()
        for _ in range(4):
            client.responses.create(model="gpt-5-mini", input="hi")
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ}, timeout=60, check=False)
    assert done.returncode == -9
    assert store.reap(-1)
    member = Member(store, Budget(name, calls=160))
    sent = 0
    while member.ask() is None:
        sent += 1
    assert sent == 150  # ten were the slice of the process that is gone
    member.close()


@OVER_SHARED_STORES
def test_unused_part_of_the_slice_of_a_killed_process_returns(store, store_url, name, monkeypatch, tmp_path):
    """What it had spent stays spent, a call in flight is charged in full, and the rest of its slice is free again."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = textwrap.dedent(f"""
        import os, signal, tempfile, openai_meter
        from openai_meter import Budget, Price
        from openai_meter.testing import fake_client
        tempfile.tempdir = {str(tmp_path)!r}
        budgets = [Budget({name!r}, calls=160), Budget({f"{name} usd"!r}, usd=1000)]
        prices = {{"gpt-5-mini": Price(input=1, output=10)}}
        meter = openai_meter.install(budgets=budgets, budget_store={store_url!r}, prices=prices)
        client = fake_client(input_tokens=50, output_tokens=20)
        ask = dict(model="gpt-5-mini", input="hi", max_output_tokens=1000)
        for _ in range(4):
            client.responses.create(**ask)
        meter._budgets.desk.report()
        client.responses.create(**ask)
        stream = client.responses.create(**ask, stream=True)
        print(meter.budgets[{name!r}].held, meter.budgets[{f"{name} usd"!r}].spent, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ}, timeout=60, check=False, capture_output=True, text=True
    )
    assert done.returncode == -9, done.stderr
    assert done.stdout.split()[1] == "0.00125"
    member = Member(store, Budget(name, calls=160), Budget(f"{name} usd", usd=1000))
    assert member.meter.budgets[name].held == 6
    member.desk.settle_for_dead()
    assert member.meter.budgets[name].held == 6  # a minute has not passed
    member.desk._dead = -1.0
    member.desk.settle_for_dead()
    status = member.meter.budgets
    assert (status[name].spent, status[name].held) == (6, 0)
    assert status[f"{name} usd"].held == 0
    assert Decimal("0.0112") < status[f"{name} usd"].spent < Decimal("0.0115")
    assert not list(tmp_path.glob("openai_meter-*/*"))
    member.close()


def test_slices_of_a_living_process_are_its_own(store, name, monkeypatch, tmp_path):
    """As long as the process lives that has the lock of its file, nothing of its slices is taken for unused."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    member = Member(store, Budget(name, calls=160))
    assert member.ask() is None
    assert [path.suffix for path in tmp_path.glob("openai_meter-*/*")] == [".slices"]
    assert list(dead_owners()) == []
    program = (
        "import sys, tempfile\nfrom openai_meter.budgets import journal\n"
        "tempfile.tempdir = sys.argv[1]\nprint(list(journal.dead_owners()))"
    )
    seen = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        timeout=60, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert seen.stdout.strip() == "[]"
    member.desk.close()
    assert not list(tmp_path.glob("openai_meter-*/*"))


@OVER_SHARED_STORES
def test_process_that_ends_returns_its_slices(store, store_url, name):
    """A process that ends reports what it has spent, and keeps nothing."""
    program = textwrap.dedent(f"""
        import openai_meter
        from openai_meter import Budget
        from openai_meter.testing import fake_client
        openai_meter.install(budgets=[Budget({name!r}, calls=160)], budget_store={store_url!r})
        for _ in range(4):
            fake_client().responses.create(model="gpt-5-mini", input="hi")
    """)
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
    member = Member(store, Budget(name, calls=160))
    status = member.meter.budgets[name]
    assert (status.spent, status.held) == (4, 0)


def test_process_that_starts_within_a_window_continues_from_the_ledger(tmp_path, name):
    """It begins with the sum of the ledger, with a store or without."""
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed: this is NOT tested")
    url = f"sqlite:///{tmp_path / 'usage.db'}"
    budgets = [Budget(name, calls=5, every="month", per="user"), Budget(f"{name} usd", usd=1, every="day")]
    meter = openai_meter.install(meter=Meter(), ledger=url, budgets=budgets, prices=PRICES)
    client = fake_client(input_tokens=50, output_tokens=20)
    for user in ("a", "a", "b"):
        with openai_meter.tag(user=user):
            ask(client)
    assert meter.flush()
    for store in (None, f"sqlite:///{tmp_path / 'budgets.db'}"):
        meter = openai_meter.install(meter=Meter(), ledger=url, budgets=budgets, prices=PRICES, budget_store=store)
        with openai_meter.tag(user="a"):
            ask(client)
            meter.flush()
            status = meter.budgets[name]["a"]
            assert status.spent == (3 if store is None else 4)
        assert meter.budgets[f"{name} usd"].spent == Decimal("0.00025") * (4 if store is None else 5)


def test_wrong_share_of_a_shared_budget_raises():
    """A share has to be between 0 and 1."""
    for wrong in (0, 2, "maybe", True):
        with pytest.raises(openai_meter.ConfigurationError, match="on_outage"):
            Budget("a", usd=1, on_outage=wrong)


@OVER_SHARED_STORES
def test_forked_child_gets_its_own_slice(store, name):
    """A child asks for a slice of its own; its parent's is not spent twice."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here: forked children with a budget are NOT tested")
    member = Member(store, Budget(name, calls=320))
    assert member.ask() is None
    child = os.fork()
    if child == 0:
        try:
            failed = any(member.ask() is not None for _ in range(3)) or not member.desk.report(all_idle=True)
        except BaseException:
            failed = True
        os._exit(int(failed))
    assert os.waitpid(child, 0)[1] == 0
    member.close()
    assert member.meter.budgets[name].spent == 4


def test_spending_is_reported_in_the_background(store, name):
    """The thread reports although no call is made."""
    member = Member(store, Budget(name, calls=100))
    member.desk._interval = 0.01
    reported = threading.Event()
    report = member.desk.report

    def watched(**settings):
        done = report(**settings)
        if store.read([key])[0].spent == 1:
            reported.set()
        return done

    member.desk.report = watched
    key = store_key(member.meter._budgets.any_account(Budget(name, calls=100)))
    assert member.ask() is None
    assert reported.wait(60)
    member.close()


def test_meter_keeps_its_store_when_its_budgets_change(store, name):
    """Other budgets of a meter keep its store; the budgets that are the same go on counting."""
    member = Member(store, Budget(name, calls=5))
    member.ask()
    openai_meter.install(meter=member.meter, budgets=[Budget(name, calls=5), Budget(f"{name} 2", calls=5)])
    assert member.meter._budgets.desk is member.desk
    assert isinstance(member.desk, Desk)
    assert member.meter.budgets[name].spent == 1
    member.close()
