"""The pytest plugin: what tests spend, limits for it, and a summary of the run.

::

    @pytest.mark.cost_budget(usd=0.10)            # a call that does not fit is not sent: BudgetExceededError
    @pytest.mark.cost_limit(usd=0.01, tokens=2000, calls=3)
    def test_answer(metered):                     # metered: the calls of this test
        answer("How do we get rid of the paper forms?")
        assert metered[0].model == "gpt-5-mini"

A test that spends more fails, with a message about the amounts by model; so does a test whose cost is not known.
The calls of a test are those of its body and of its own fixtures, not those of fixtures that tests share.
``pytest --openai-meter`` (or ``openai_meter = true`` in the configuration) ends a run with what it has spent, by model
and test, over all workers of pytest-xdist. Where none of these is used, only this file is loaded, and nothing is
patched.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from openai_meter.core.locale import Messages
    from openai_meter.core.totals import Totals
    from openai_meter.metering.meter import Meter
    from openai_meter.testing.capture import Capture

_MARKER = "cost_limit"
_BUDGET = "cost_budget"
_FIXTURES = frozenset({"metered", "cost_limit"})
_DEAREST = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the option and the setting for the summary."""
    text = "Show at the end of the run what the OpenAI calls of the tests have cost."
    parser.getgroup("openai-meter").addoption("--openai-meter", action="store_true", dest="openai_meter", help=text)
    parser.addini("openai_meter", text, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker, and the summary where it is wanted."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(usd=None, tokens=None, calls=None): fail the test if its OpenAI calls exceed one of these limits.",
    )
    config.addinivalue_line(
        "markers",
        f"{_BUDGET}(usd=None, tokens=None, calls=None): do not send OpenAI calls of the test that exceed this budget.",
    )
    if config.getoption("openai_meter") or config.getini("openai_meter"):
        config.pluginmanager.register(_Summary(), "openai_meter_summary")


# --- the calls of one test --------------------------------------------------------------------------------------------


class _Limits(NamedTuple):
    usd: Decimal | None = None
    tokens: int | None = None
    calls: int | None = None

    def and_also(self, usd: object = None, tokens: object = None, calls: object = None) -> _Limits:
        """These limits with others in place of those that are given.

        Raises:
            ConfigurationError: a value is not a limit.
        """
        from openai_meter.core.money import exact  # noqa: PLC0415
        from openai_meter.errors import ConfigurationError  # noqa: PLC0415 - a run without limits loads nothing

        for name, value in (("tokens", tokens), ("calls", calls)):
            if value is not None and (type(value) is not int or value < 0):
                raise ConfigurationError(f"cost_limit({name}={value!r}) is not a limit; pass a whole number from 0 up")
        limits = {"usd": usd if usd is None else exact(usd, "cost_limit(usd=...)"), "tokens": tokens, "calls": calls}
        return self._replace(**{name: value for name, value in limits.items() if value is not None})  # type: ignore[arg-type]


class _Test:
    """The calls and the limits of one test."""

    def __init__(self, item: pytest.Item) -> None:
        self._limits = _Limits()
        self._calls: Capture | None = None
        for marker in reversed(list(item.iter_markers(_MARKER))):  # the marker nearest to the test counts
            try:
                self.limit(*marker.args, **marker.kwargs)
            except (TypeError, ValueError) as error:
                pytest.fail(f"@pytest.mark.{_MARKER} of {item.nodeid}: {error}", pytrace=False)

    def limit(self, *misplaced: object, **limits: object) -> None:
        if misplaced or limits.keys() - set(_Limits._fields):
            raise TypeError(f"cost_limit() takes usd=, tokens= and calls= by name, not {misplaced or [*limits]}")
        self._limits = self._limits.and_also(**limits)

    def begin(self) -> Capture:
        if self._calls is None:
            from openai_meter.testing.capture import capture  # noqa: PLC0415 - most tests meter nothing

            self._calls = capture()
            self._calls.start()
        return self._calls

    def end(self) -> None:
        if self._calls is not None:
            self._calls.stop()

    def complaint(self) -> str | None:
        """The message of this test's failure; ``None`` if it kept to its limits."""
        if self._calls is None or self._limits == _Limits():
            return None
        from openai_meter.core.locale import language  # noqa: PLC0415

        m = language()
        lines = list(_exceeded(self._limits, self._calls, m))
        return "\n".join([m("pytest.exceeded"), *lines, "", self._calls.report().render()]) if lines else None


def _exceeded(limits: _Limits, calls: Capture, m: Messages) -> Generator[str]:
    """A line for each limit that was passed, or may have been: unknown is not zero."""
    from openai_meter.core.formatting import exact_dollars, number  # noqa: PLC0415 - most runs have no limits
    from openai_meter.reports import words  # noqa: PLC0415

    totals, pending = calls.totals, len(calls.pending)
    count = partial(number, style=m.numbers)
    if limits.usd is not None:
        # With every digit: a limit may be exceeded by the last digit.
        exact = partial(exact_dollars, style=m.numbers)
        limit, unknown = exact(limits.usd), totals.unpriced_calls + pending
        if totals.cost is not None and totals.cost > limits.usd:
            yield m("pytest.cost", value=words.cost(totals, exact), limit=limit)
        elif unknown:
            yield m("pytest.cost_unknown", calls=m("calls", n=unknown), limit=limit)
    if limits.tokens is not None:
        spent, unknown = totals.usage.total_tokens or 0, totals.unmeasured_calls + pending
        if spent > limits.tokens:
            yield m("pytest.tokens", value=words.tokens(spent, totals, m.numbers), limit=count(limits.tokens))
        elif unknown:
            yield m("pytest.tokens_unknown", calls=m("calls", n=unknown), limit=count(limits.tokens))
    if limits.calls is not None and totals.calls + pending > limits.calls:
        yield m("pytest.calls", value=count(totals.calls + pending), limit=count(limits.calls))


_TEST = pytest.StashKey[_Test]()


def _test_of(item: pytest.Item) -> _Test:
    if _TEST not in item.stash:
        item.stash[_TEST] = _Test(item)
    return item.stash[_TEST]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Checks whether the test is metered."""
    markers = (item.get_closest_marker(name) for name in (_MARKER, _BUDGET))
    if not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())) or any(marker is not None for marker in markers):
        item.stash[_TEST] = _Test(item)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> None:
    """Begins to count before the first fixture of the test's own."""
    if fixturedef.scope == "function" and (test := request.node.stash.get(_TEST, None)) is not None:
        test.begin()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any]:
    """Counts the calls of the test, and lets it fail if it spent too much."""
    if (test := item.stash.get(_TEST, None)) is not None:
        test.begin()
    with _budgets_of(item):
        outcome = yield
    test = item.stash.get(_TEST, None)  # the test may have requested a fixture itself
    if test is not None and outcome.excinfo is None and (complaint := test.complaint()) is not None:
        outcome.force_exception(pytest.fail.Exception(complaint, pytrace=False))


def _budgets_of(item: pytest.Item) -> ExitStack:
    """The budgets that the markers of a test set: they refuse the calls of its body that do not fit."""
    entered = ExitStack()
    for marker in item.iter_markers(_BUDGET):
        from openai_meter.api import budget  # noqa: PLC0415 - a run without budgets loads nothing
        from openai_meter.errors import ConfigurationError  # noqa: PLC0415

        try:
            entered.enter_context(budget(item.name, *marker.args, **marker.kwargs))
        except (TypeError, ConfigurationError) as error:
            entered.close()
            pytest.fail(f"@pytest.mark.{_BUDGET} of {item.nodeid}: {error}", pytrace=False)
    return entered


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Stops counting when the fixtures of the test are gone."""
    yield
    if (test := item.stash.get(_TEST, None)) is not None:
        test.end()
        del item.stash[_TEST]


@pytest.fixture
def metered(request: pytest.FixtureRequest) -> Capture:
    """The OpenAI calls of this test: a sequence of ``Call``, with ``.cost``, ``.totals``, ``.by("model")``."""
    return _test_of(request.node).begin()


@pytest.fixture
def cost_limit(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Sets limits for this test, as the marker does: ``cost_limit(usd=0.01, tokens=2000, calls=3)``."""
    test = _test_of(request.node)
    test.begin()
    return test.limit


# --- the summary of the run -------------------------------------------------------------------------------------------


class _Phase(NamedTuple):
    """The calls of one phase of a test; there may be more to come."""

    test: str
    calls: Capture
    taken: int


class _Summary:
    """Adds up what all tests spend. The calls are part of the tests' reports, which workers of xdist send too."""

    def __init__(self) -> None:
        self._phase: _Phase | None = None
        self._waiting: list[_Phase] = []
        self._held: list[list[Any]] = []
        self._all: Meter | None = None
        self._by_test: dict[str, Meter] = {}

    def pytest_sessionstart(self) -> None:
        from openai_meter.testing.capture import capture  # noqa: PLC0415 - the summary is wanted

        self._phase = _Phase("", capture(), 0)
        self._phase.calls.start()

    def pytest_collection_finish(self) -> None:
        self._held = self._taken("(collection)")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, Any]:
        outcome = yield
        outcome.get_result().openai_meter = [*self._held, *self._taken(item.nodeid)]
        self._held = []

    def pytest_sessionfinish(self) -> None:
        if self._phase is not None:
            self._phase.calls.stop()

    def _taken(self, test: str) -> list[list[Any]]:
        """What has ended since the last time, as plain values: each call with the name of its test."""
        phase = self._phase
        if phase is None:
            return []
        phases = [*self._waiting, phase._replace(test=test)]
        if len(phase.calls) or phase.calls.pending:
            self._phase = _Phase("", phase.calls.hand_over(), 0)
        else:
            phases.pop()
        found: list[list[Any]] = []
        self._waiting = []
        for phase in phases:
            calls = phase.calls.calls
            found += ([phase.test, call.to_dict()] for call in calls[phase.taken :])
            if phase.calls.pending:  # a stream that is read later, or never
                self._waiting.append(phase._replace(taken=len(calls)))
        return found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for test, call in getattr(report, "openai_meter", ()):
            self._add(test, call)

    def _add(self, test: str, plain: dict[str, Any]) -> None:
        from openai_meter.core.call import Call  # noqa: PLC0415
        from openai_meter.metering.meter import Meter  # noqa: PLC0415

        # Meters that listen to no client. A call that is added keeps the price that it had in its test.
        if self._all is None:
            self._all = Meter(thresholds=False)
        if test not in self._by_test:
            self._by_test[test] = Meter(recent=0, thresholds=False)
        call = Call.from_dict(plain)
        self._all._take(call)
        self._by_test[test]._take(call)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._all is None:
            return
        from openai_meter.core.locale import language  # noqa: PLC0415

        m = language()
        terminalreporter.section("openai-meter")
        for line in self._all.report().render().strip().splitlines():
            terminalreporter.write_line(line)
        if len(self._by_test) > 1:
            terminalreporter.write_line("")
            terminalreporter.write_line(m("pytest.dearest"))
            rows = sorted(((test, sums.totals) for test, sums in self._by_test.items()), key=_rank)
            for line in _lines(rows[:_DEAREST], m):
                terminalreporter.write_line(line)


def _rank(row: tuple[str, Totals]) -> tuple[Any, ...]:
    test, totals = row
    return -(totals.cost_pico or 0), -(totals.usage.total_tokens or 0), -totals.calls, test


def _lines(rows: list[tuple[str, Totals]], m: Messages) -> Generator[str]:
    from openai_meter.core.formatting import aligned, column_places, fixed_dollars  # noqa: PLC0415
    from openai_meter.reports import words  # noqa: PLC0415
    from openai_meter.reports.text import shown  # noqa: PLC0415

    write = partial(fixed_dollars, style=m.numbers, places=column_places(totals.cost for _, totals in rows))
    costs = aligned([words.cost(totals, write) for _, totals in rows])
    for cost, (test, totals) in zip(costs, rows, strict=True):
        calls, tokens = m("calls", n=totals.calls), words.phrase(totals.usage.total_tokens, totals, m)
        yield f"  {cost:>10}  {shown(test, 1_000)} ({calls}, {tokens})"
