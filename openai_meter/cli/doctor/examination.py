"""The examination: all trials and all checks, one after the other."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from openai_meter.cli.doctor.checks import CHECKS, sdk_version, who_patched
from openai_meter.cli.doctor.child import Progress, TrialResults, try_in_child
from openai_meter.cli.doctor.diagnosis import PATIENCE, Diagnosis, Finding
from openai_meter.cli.doctor.ledger_checks import look_at_ledger
from openai_meter.core import faults
from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from openai_meter.ledger import Ledger

__all__ = ["examine"]


def examine(
    *,
    ledger: Ledger | str | None = None,
    trials: bool = True,
    patience: float = PATIENCE,
    on_progress: Progress | None = None,
) -> Diagnosis:
    """Examines this installation: what of the SDK is metered, what else patches it, and what the meter works with.

    Every shape of call is tried with the installed SDK in a process of its own, against a server on this machine:
    nothing is installed, counted or written in the calling program, and no request leaves the machine. Connects to
    the ledger's database, reads, and changes nothing. Thread-safe; takes some seconds.

    Args:
        ledger: the ledger to check; by default that of the installed meter, or of ``OPENAI_METER_LEDGER``.
        trials: whether calls are tried at all.
        patience: seconds of processor time that all trials may take together; shapes that are left are a problem.
        on_progress: is called with the steps that are done and their number.

    Raises:
        ConfigurationError: ``patience`` is not a number of seconds above 0.
    """
    if isinstance(patience, bool) or not isinstance(patience, int | float) or not patience > 0:
        raise ConfigurationError(f"patience={patience!r} is not a number of seconds above 0")
    from openai_meter.core.version import __version__  # noqa: PLC0415 - it stands above all modules

    sdk = sdk_version()
    results = try_in_child(patience, on_progress) if trials and sdk is not None else TrialResults((), (), ())
    findings = [*results.findings]
    for check in (*CHECKS, lambda: who_patched(results.patches), lambda: look_at_ledger(ledger)):
        findings += _done(check)
    return Diagnosis(results.trials, tuple(findings), sdk, __version__, platform.python_version())


def _done(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; one that breaks is a finding too, and keeps no other from being made."""
    try:
        yield from check()
    except Exception as error:
        faults.caught(error, "examining the installation")
        yield Finding("trials", "check_failed", "warning", {"error": f"{type(error).__name__}: {error}"})
