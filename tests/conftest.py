"""What every test starts from: nothing installed, nothing counted, and no fault of the meter hidden."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from paths import TESTS

import openai_meter
from openai_meter.core import faults
from openai_meter.instrumentation.listening import registry
from openai_meter.metering import call_in_flight

# What is printed must not depend on the machine's locale; test modules copy the environment as they are imported.
os.environ["OPENAI_METER_LANG"] = "en"

MARKED = {
    "sdk": (
        "contract", "instrumentation", "testing", "alerts/test_dispatch.py", "cli/test_run.py",
        "metering/test_attribution.py", "metering/test_manual.py", "metering/test_thread_context.py",
        "pricing/test_metered_costs.py", "usage/test_external.py", "test_tracker.py",
    ),
    "e2e": ("e2e",),
    "bench": ("bench",),
}  # fmt: skip
"""The markers of whole folders and files; single tests have theirs as decorators."""

# A busy machine is not a fault of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("a part", settings.get_profile("any machine"), max_examples=40)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough", action="store_true", help="leave nothing out: every row of large tables, and with no path also "
        "what is marked e2e and bench"
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Leaves out what takes long, unless ``-m`` or ``--thorough`` chooses. Properties get fewer examples then."""
    if not config.option.thorough:
        settings.load_profile("a part")
    if config.option.markexpr or config.option.thorough:
        return
    config.option.markexpr = "not (e2e or bench or thorough)" if _whole_suite(config) else "not thorough"


def _whole_suite(config: pytest.Config) -> bool:
    """Whether no file, folder or test is named on the command line."""
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One worker more than there are processors, as tests often wait; none for a part of the suite."""
    if not _whole_suite(config):
        return 0
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def pytest_itemcollected(item: pytest.Item) -> None:
    """Gives a test the markers of its folder and its file."""
    path = item.path.relative_to(TESTS)
    for marker, places in MARKED.items():
        if path.parts[0] in places or path.as_posix() in places:
            item.add_marker(marker)


def pytest_collection_finish() -> None:
    """Hides what is there by now from the collector: tests collect often, and would look through all of it."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Reports of failures with lone surrogates in them can be sent to the process that prints them."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_encodable, value))
    return value


def accept_signals() -> None:
    """Handles the signals that ``nohup`` and shells without job control have set to be ignored.

    Programs that the tests start would inherit that, and not end as they should. A signal with a handler is back at its
    default in them. In this process, what was ignored still does nothing; a sent SIGINT interrupts the tests.
    """
    for name in ("SIGHUP", "SIGQUIT", "SIGINT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if name == "SIGINT" else lambda *_: None)


accept_signals()


@pytest.fixture(autouse=True)
def clean_meter() -> Iterator[None]:
    """Faults inside the meter are raised, and every test leaves the openai package as it found it."""
    faults.reraise = True
    call_in_flight.OPEN.clear()
    call_in_flight.WORK.clear()
    yield
    openai_meter.uninstall()
    if call_in_flight.OPEN:
        gc.collect()  # streams that a test has abandoned end here, not in the middle of the next test
    registry.meter = None  # the next test makes its own, with settings of its own
    faults.reraise = True
    faults.forget()


@pytest.fixture
def meter() -> openai_meter.Meter:
    """The process-wide meter, installed and empty."""
    return openai_meter.install()


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command in this process; what it wrote to standard output, or, if it ended with a code, to the other."""
    from openai_meter.cli import app

    monkeypatch.setenv("OPENAI_METER_LEDGER", "")

    def run(*args: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["openai-meter", *args])
        if code:
            with pytest.raises(SystemExit) as end:
                app.main()
            assert end.value.code == code
            return capsys.readouterr().err
        app.main()
        return capsys.readouterr().out

    return run
