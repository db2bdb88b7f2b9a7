"""Starts the meter by environment variables alone, where ``openai-meter run`` cannot be put before a program.

In ``sitecustomize.py``, which Python runs at its start from wherever it is importable (a folder on ``PYTHONPATH``, or
``site-packages``)::

    import os
    if os.environ.get("OPENAI_METER"):
        import openai_meter.auto

Then ``OPENAI_METER=1 python program.py`` is metered, and so is every Python process below it. Nothing is loaded and
nobody is patched before the program imports openai. The variables:

- ``OPENAI_METER``: ``1`` starts the meter; ``0`` or nothing does not.
- ``OPENAI_METER_SUMMARY``: says at exit on standard error what was metered, where something was: a form of report
  (``table``, ``tree``, ``markdown``, ``line``, ``json``, ``csv``), or ``1`` for a table.
- ``OPENAI_METER_REPORT``: saves a report at exit in this file; its suffix says the form.
- ``OPENAI_METER_BY``: what both group by, such as ``agent,model``.
- ``OPENAI_METER_LANG``: ``en`` or ``fr``.
- ``OPENAI_METER_LEDGER``: the URL of the ledger that keeps every call.
- ``OPENAI_METER_THRESHOLDS``: limits for alerts, such as ``cost=5,calls=off``; ``off`` for none.
- ``OPENAI_METER_THREADS``: ``1`` lets attribution follow into threads.
- ``OPENAI_METER_HOSTS``, ``OPENAI_METER_STREAM_USAGE``: as :func:`openai_meter.install` has them.

What is wrong with them is said in one line on standard error when openai is imported, and the program goes on without
the meter. In a notebook, use ``%load_ext openai_meter``.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai_meter.cli.exit_summary import ExitSummary

__all__ = ["start"]

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"", "0", "false", "no", "off", "none"})


class _Start:
    """Starts the meter when openai is imported, and lets its ending speak when all is over."""

    def __init__(self) -> None:
        self._ending: ExitSummary | None = None

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        """Hears, as a finder of modules, that openai is about to be imported; finds nothing itself."""
        if name == "openai":
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self.now()

    def now(self) -> None:
        """Starts the meter. Never raises."""
        try:
            self._ending = _start(os.environ)
        except Exception as error:
            _complain(error)

    def finish(self) -> None:
        if self._ending is not None:
            self._ending.finish()


def start() -> bool:
    """Starts the meter when openai is imported, if ``OPENAI_METER`` says so; never raises.

    Runs by itself when this module is imported, once in a process.

    Returns:
        Whether it does.
    """
    said = os.environ.get("OPENAI_METER", "").strip().lower()
    if said in _OFF:
        return False
    if said not in _ON:
        _complain(f"OPENAI_METER={said!r} is neither 1 nor 0")
        return False
    starting = _Start()
    atexit.register(starting.finish)  # before any of the program's: handlers run in the reverse order
    if "openai" in sys.modules:
        starting.now()
    else:
        sys.meta_path.insert(0, starting)
    return True


def _start(environment: Mapping[str, str]) -> ExitSummary | None:
    """The meter's beginning and, arranged, its ending; ``None`` where somebody else has arranged one: ``run`` has."""
    from openai_meter.cli.exit_summary import ExitSummary, SummaryOptions, report_file  # noqa: PLC0415 - the interpreter's start is everybody's

    if ExitSummary.registered:
        return None

    def said(name: str) -> str | None:
        return environment.get(f"OPENAI_METER_{name}", "").strip() or None

    form = said("SUMMARY")
    switch = (form or "").lower()
    look = SummaryOptions(format=None if switch in _ON | _OFF else form, by=said("BY"))
    report = report_file(said("REPORT"))
    settings = {"thresholds": _thresholds(said("THRESHOLDS")), "threads": _switch("THREADS", said("THREADS"))}
    when = "never" if switch in _OFF else "calls"
    ending = ExitSummary(look.summary(), None, report, when=when, settings=settings)  # type: ignore[arg-type]
    ending.start(at_exit=False)
    if ending.fault:
        _complain(ending.fault)
    return ending


def _switch(name: str, said: str | None) -> bool | None:
    from openai_meter.errors import ConfigurationError  # noqa: PLC0415

    if said is None:
        return None
    if said.lower() in _ON | _OFF:
        return said.lower() in _ON
    raise ConfigurationError(f"OPENAI_METER_{name}={said!r} is neither 1 nor 0")


def _thresholds(said: str | None) -> dict[str, Any] | bool | None:
    """``cost=5,calls=off`` as ``install(thresholds=...)`` takes it, which checks the names."""
    from openai_meter.core.money import exact  # noqa: PLC0415
    from openai_meter.errors import ConfigurationError  # noqa: PLC0415

    if said is None:
        return None
    if said.lower() in _OFF:
        return False
    limits: dict[str, Any] = {}
    for part in said.split(","):
        metric, equals, limit = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigurationError(f"OPENAI_METER_THRESHOLDS={said!r} is none; write it as cost=5,calls=off")
        if limit.lower() in _OFF - {"0"}:
            limits[metric] = None
        else:
            limits[metric] = int(limit) if limit.isdecimal() else exact(limit, f"OPENAI_METER_THRESHOLDS: {metric}")
    return limits


def _complain(error: Exception | str) -> None:
    """One line on standard error, whatever it is."""
    try:
        from openai_meter.cli.exit_summary import write_to_stderr  # noqa: PLC0415
        from openai_meter.core.locale import language  # noqa: PLC0415

        try:
            m = language()
        except Exception:
            m = language("en")
        line = " ".join(str(error).split())
        write_to_stderr(f"openai-meter: {m('auto.not_started', error=line)}\n")
    except Exception:  # noqa: S110 - nobody is left to tell
        pass


start()
