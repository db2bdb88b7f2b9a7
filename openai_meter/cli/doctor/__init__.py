"""Examines an installation: which calls are counted, which other libraries patch the SDK, and what is missing.

``openai-meter doctor`` on the command line; in a program::

    from openai_meter.cli import doctor

    diagnosis = doctor.examine()
    diagnosis.ok, diagnosis.to_dict()

Parts, top first:

    diagnosis      what an examination finds
    patchers       which other libraries have patched the SDK
    trials         every shape of call, tried on the installed SDK (in a process of its own)
    child          starts that process
    checks         Python, the SDK, extras, vocabularies, prices, threads, the environment
    ledger_checks  the ledger, and the difference of its clock
    examination    all of it
    tables         the diagnosis as a table for people
    command        ``openai-meter doctor``
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai_meter.cli.doctor.diagnosis import Diagnosis, Finding, Mode, Trial
    from openai_meter.cli.doctor.examination import examine

__all__ = ["Diagnosis", "Finding", "Mode", "Trial", "examine"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "examination" if name == "examine" else "diagnosis"
    return getattr(import_module(f"{__name__}.{module}"), name)
