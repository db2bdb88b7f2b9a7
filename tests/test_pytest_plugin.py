"""The pytest plugin, in runs of its own: limits, the calls of a test, the summary, and what it costs others."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import openai  # noqa: F401
import pytest

import openai_meter
from openai_meter.instrumentation.listening import registry

pytest_plugins = ["pytester"]

# Modules that only an inner run imports are gone after it, and the next one would have their classes twice.
for _module in pkgutil.walk_packages(openai_meter.__path__, "openai_meter."):
    if not _module.name.endswith("__main__"):
        with contextlib.suppress(ImportError):  # an extra that is not installed
            importlib.import_module(_module.name)

HEAD = """
    import pytest
    from openai_meter import Price
    from openai_meter.testing import FakeAPI, fake_client, fixed_prices

    CLIENT = fake_client(input_tokens=1_000, output_tokens=200)
    HELLO = [{"role": "user", "content": "hi"}]

    @pytest.fixture(autouse=True, scope="session")
    def prices():
        with fixed_prices({"gpt-5-mini": Price(input=1, output=10)}):  # so that a call costs $0.003
            yield

    def ask(times=1, client=CLIENT, model="gpt-5-mini", **more):
        for _ in range(times):
            answer = client.chat.completions.create(model=model, messages=HELLO, **more)
        return answer
"""
OPTIONS = (
    "-p",
    "no:openai_meter",
    "-p",
    "openai_meter.pytest_plugin",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "--strict-markers",
)
"""The plugin by its module, whether it is installed or not; tests of inner runs follow each other as written."""


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest over a test module with ``HEAD`` before it."""
    monkeypatch.setenv("OPENAI_METER_LANG", "en")

    def run(tests, *options):
        pytester.makepyfile(test_it=HEAD + tests)
        result = pytester.runpytest_inprocess(*OPTIONS, *options)
        assert (registry.installed, registry.captures) == (None, ())
        return result

    return run


def test_test_within_its_limits_passes(run):
    """Limits that are met, to the last digit, let a test pass; so do tests without calls."""
    result = run("""
    @pytest.mark.cost_limit(usd=0.006, tokens=2_400, calls=2)
    def test_two():
        ask(2)

    @pytest.mark.cost_limit(usd=0, tokens=0, calls=0)
    def test_none():
        pass
    """)
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("usd=0.0059", "  cost: $0.006, limit: $0.0059"),
        ("usd='0.005999999'", "  cost: $0.006, limit: $0.005999999"),
        ("tokens=2_399", "  tokens: 2,400, limit: 2,399"),
        ("calls=1", "  calls: 2, limit: 1"),
    ],
)
def test_test_above_a_limit_fails(run, limit, said):
    """The failure has the limit, the spent amount, and the model."""
    result = run(f"""
    @pytest.mark.cost_limit({limit})
    def test_two():
        ask(2)
    """)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "The OpenAI calls of this test exceed its limits:",
        said,
        "*Model*Calls*Cost*",
        "gpt-5-mini*2*2,400*$0.00600",
    ])  # fmt: skip


def test_budget_of_a_test_refuses_calls(run):
    """A call of the body that does not fit is not sent; a test without the marker is not concerned."""
    result = run("""
    from openai_meter import BudgetExceededError

    @pytest.mark.cost_budget(usd=0.01)
    def test_refused(metered):
        ask(max_completion_tokens=200)
        with pytest.raises(BudgetExceededError) as error:
            ask(times=5, max_completion_tokens=200)
        assert error.value.budget == "test_refused"
        assert 1 < len(metered) < 5

    @pytest.mark.cost_budget(calls=1)
    def test_fails():
        ask(times=2)

    def test_free():
        ask(times=2)

    @pytest.mark.cost_budget(euros=1)
    def test_wrong():
        pass
    """)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*BudgetExceededError*"])
    result.stdout.fnmatch_lines(["*cost_budget*test_wrong*"])


def test_unknown_cost_or_size_fails_a_limit(run):
    """A call without a price fails a limit of cost, one of unknown size a limit of tokens, open ones both."""
    result = run("""
    @pytest.mark.cost_limit(usd=100)
    def test_no_price():
        ask(model="gpt-none")

    @pytest.mark.cost_limit(usd=100, tokens=1_000_000)
    def test_open():
        global stream
        stream = ask(stream=True)

    @pytest.mark.cost_limit(tokens=1_000_000)
    def test_no_price_needed():
        ask(model="gpt-none")
    """)
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines([
        "  cost: not known for 1 call, so it may be above the limit of $100.00",
        "No price for gpt-none: 1 call, 1,200 tokens (unknown model).",
        "  cost: not known for 1 call, so it may be above the limit of $100.00",
        "  tokens: not known for 1 call, so they may be above the limit of 1,000,000",
        "1 call not finished yet.",
    ])  # fmt: skip


def test_known_part_above_a_limit_is_shown_with_unknown_calls(run):
    """Where the known part alone is too much, that is said."""
    result = run("""
    @pytest.mark.cost_limit(usd=0.001)
    def test_both():
        ask(model="gpt-none")
        ask()
    """)
    result.stdout.fnmatch_lines(["  cost: $0.003+, limit: $0.001"])


def test_nearest_marker_sets_the_limit(run):
    """For each kind by itself; async and unittest too."""
    result = run("""
    import unittest

    @pytest.mark.cost_limit(usd=1, calls=1)
    class TestClass:
        def test_inherits(self):
            ask(2)

        @pytest.mark.cost_limit(calls=2)
        def test_overrides(self):
            ask(2)

        @pytest.mark.cost_limit(calls=9, usd="0.001")
        def test_overrides_both(self):
            ask(2)

    @pytest.mark.cost_limit(calls=0)
    class TestCase(unittest.TestCase):
        def test_old(self):
            ask()
    """)
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines_random(
        ["*test_inherits*", "*test_overrides_both*", "*test_old*", "  calls: 2, limit: 1", "  calls: 1, limit: 0"]
    )


def test_fixtures_give_the_calls_and_set_limits(run):
    """``metered`` has the calls of the test and its own fixtures, not of shared ones; ``cost_limit`` sets limits."""
    result = run("""
    @pytest.fixture(scope="module")
    def shared():
        ask(5)

    @pytest.fixture
    def own():
        ask()
        yield
        ask(7)

    def test_calls(shared, own, metered):
        assert len(metered) == 1
        ask()
        assert [str(call.cost) for call in metered] == ["0.003", "0.003"]

    def test_afresh(metered):
        assert not metered
        assert metered.cost == 0

    def test_limit(cost_limit):
        ask(2)
        cost_limit(calls=1)

    def test_late(request):
        ask(3)
        request.getfixturevalue("metered")
        ask()
        assert len(request.getfixturevalue("metered")) == 1

    @pytest.mark.cost_limit(calls=2)
    def test_counts_with_its_fixtures(shared, own):
        ask(2)
    """)
    result.assert_outcomes(failed=2, passed=3)
    result.stdout.fnmatch_lines(["  calls: 2, limit: 1", "  calls: 3, limit: 2"])


def test_own_outcome_of_a_test_is_kept(run):
    """Failing, skipped and expected failures stay what they are, whatever was spent."""
    result = run("""
    pytestmark = pytest.mark.cost_limit(calls=0)

    def test_fails():
        ask()
        assert 1 == 2

    def test_skips():
        ask()
        pytest.skip("no")

    @pytest.mark.xfail(strict=True)
    def test_expected():
        ask()
    """)
    result.assert_outcomes(failed=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2"])
    result.stdout.no_fnmatch_line("*exceed its limits*")


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("0.01", "*by name*"),
        ("dollars=1", "*by name*"),
        ("usd='much'", "*is no number*"),
        ("usd=-1", "*not below 0*"),
        ("tokens=1.5", "*whole number*"),
        ("calls=True", "*whole number*"),
    ],
)
def test_invalid_limit_is_an_error_of_the_test(run, limit, said):
    """What is no limit is an error of the test, which says so."""
    result = run(f"""
    @pytest.mark.cost_limit({limit})
    def test_it():
        pass
    """)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])


SPENDERS = """
    @pytest.fixture(scope="module")
    def shared():
        ask(2)

    def test_one():
        ask()

    def test_four(shared):
        ask(2)

    def test_free():
        pass

    def test_unknown():
        ask(model="gpt-none")
"""


@pytest.mark.parametrize("asked", ["option", "ini", "no"])
def test_summary_is_shown_on_request_only(run, pytester, asked):
    """The run ends with its costs by model and by test where the option or the setting asks for it, and only there."""
    if asked == "ini":
        pytester.makeini("[pytest]\nopenai_meter = true")
    result = run(SPENDERS, *(["--openai-meter"] if asked == "option" else []))
    result.assert_outcomes(passed=4)
    if asked == "no":
        result.stdout.no_fnmatch_line("*openai*")
        return
    result.stdout.fnmatch_lines([
        "=* openai-meter =*",
        "OpenAI usage",
        "gpt-5-mini*5*6,000*$0.0150",
        "gpt-none*1*1,200*?",
        "Total*6*7,200*$0.0150+",
        "The tests that cost most:",
        "     $0.0120  test_it.py::test_four (4 calls, 4,800 tokens)",
        "     $0.0030  test_it.py::test_one (1 call, 1,200 tokens)",
        "           ?  test_it.py::test_unknown (1 call, 1,200 tokens)",
    ])  # fmt: skip


def test_run_without_calls_has_no_summary(run):
    """Without a call there is no summary, even where it is asked for."""
    result = run("""
    def test_it():
        pass
    """, "--openai-meter")  # fmt: skip
    result.stdout.no_fnmatch_line("*openai*")


def test_summary_counts_every_call_once(run):
    """Streams that continue in other tests, calls during collection, and limits."""
    result = run(
        """
    ask()
    STREAMS = []

    def test_begins():
        STREAMS.append(ask(stream=True))

    @pytest.mark.cost_limit(calls=1)
    def test_ends(metered):
        list(STREAMS.pop())
        ask()
        assert len(metered) == 1
    """,
        "--openai-meter",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines_random([
        "Total*3*3,600*",
        "*(collection) (1 call, 1,200 tokens)",
        "*test_it.py::test_begins (1 call, 1,200 tokens)",
        "*test_it.py::test_ends (1 call, 1,200 tokens)",
    ])  # fmt: skip


def test_summary_of_pytest_is_french_on_request(run, monkeypatch):
    """In French it is French."""
    monkeypatch.setenv("OPENAI_METER_LANG", "fr")
    result = run(SPENDERS, "--openai-meter")
    result.stdout.fnmatch_lines(["Modèle*", "Les tests les plus chers\N{NO-BREAK SPACE}:"])


def outside(pytester, *options, **environment):
    """Runs pytest in an interpreter of its own, without the other plugins of this environment."""
    roots = os.pathsep.join([str(Path(openai_meter.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *options],
        env=os.environ | {"PYTHONPATH": roots, "OPENAI_METER_LANG": "en", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        | environment,
        cwd=pytester.path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_unused_plugin_loads_and_patches_nothing(pytester):
    """A run without limits and summary loads nothing of the meter but the plugin, and patches nothing."""
    pytester.makepyfile("""
    import sys

    def test_it():
        ours = sorted(name for name in sys.modules if name.startswith("openai_meter"))
        finder = ["openai_meter.core", "openai_meter.core.old_names"]  # for pickles of before
        assert ours == ["openai_meter", *finder, "openai_meter.pytest_plugin"]
        assert "wrapt" not in sys.modules
    """)
    done = outside(pytester, "-W", "error")
    assert done.returncode == 0, done.stdout


def test_summary_adds_up_over_workers(pytester):
    """Under pytest-xdist the calls of all workers are summed up."""
    pytest.importorskip("xdist", reason="pytest-xdist is missing: sums over several workers are NOT tested")
    pytester.makepyfile(test_a=HEAD + SPENDERS, test_b=HEAD + SPENDERS)
    done = outside(pytester, "-p", "xdist", "-n", "2", "--openai-meter")
    assert "8 passed" in done.stdout, done.stdout
    pytester_lines = pytest.LineMatcher(done.stdout.splitlines())
    pytester_lines.fnmatch_lines(["Total*12*14,400*$0.0300+", "The tests that cost most:"])


def test_help_and_markers_of_the_plugin_are_listed(pytester):
    """``--help`` and ``--markers`` tell of it."""
    done = outside(pytester, "--help")
    assert "--openai-meter" in done.stdout
    assert "openai_meter (bool)" in done.stdout
    assert "@pytest.mark.cost_limit(usd=None" in outside(pytester, "--markers").stdout


def test_plugin_works_under_run(pytester):
    """Installed as a package, the plugin is found, also where ``openai-meter run`` was there before."""
    if not [one for one in entry_points(group="pytest11") if one.value == "openai_meter.pytest_plugin"]:
        pytest.skip("the package is not installed with its entry points: that pytest finds the plugin is NOT tested")
    pytester.makepyfile("""
    def test_it(metered):
        assert not metered
    """)
    command = [sys.executable, "-W", "error", "-m", "openai_meter", "run", "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=pytester.path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout
