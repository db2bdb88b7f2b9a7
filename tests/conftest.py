"""What every test starts from: nothing installed, nothing counted, and no fault of the meter hidden."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import openai_meter
from openai_meter.core import faults
from openai_meter.instrumentation.listening import listening
from openai_meter.metering import call_in_flight

# What is printed must not depend on the machine's locale; test modules copy the environment as they are imported.
os.environ["OPENAI_METER_LANG"] = "en"

# A busy machine is no fault of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


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
    listening.meter = None  # the next test makes its own, with settings of its own
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
