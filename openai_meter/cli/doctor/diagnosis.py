"""What an examination finds: plain values, which can be shown and saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from openai_meter.cli.doctor.locale import sentences
from openai_meter.core.locale import Messages

__all__ = ["BAD", "PATIENCE", "Diagnosis", "Finding", "Level", "Mode", "Outcome", "Trial"]

Level = Literal["ok", "warning", "problem"]
Outcome = Literal[
    "metered", "free", "absent", "watched", "not_covered", "untried", "missed", "twice", "changed", "request_changed",
    "raised", "no_usage", "fault",
]  # fmt: skip

PATIENCE = 18.0
"""The default of the seconds of processor time that all trials may take together; they need about 7."""

BAD: frozenset[Outcome] = frozenset({"missed", "twice", "changed", "request_changed", "raised", "no_usage", "fault"})
"""The outcomes that are problems."""
_UNSURE: frozenset[Outcome] = frozenset({"not_covered", "untried"})


class Mode(NamedTuple):
    """The result of one shape of call with one kind of client."""

    outcome: Outcome
    records: int | None = None
    """How many records it left; ``None`` where it was not tried."""
    usage: str | None = None
    """Where the tokens came from: ``api``, ``estimate``, ``none``."""
    detail: str = ""
    """The message of an exception."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One shape of call, made with the installed SDK against a server on this machine."""

    name: str
    expected: int
    """How many records it has to leave."""
    sync: Mode | None
    """``None`` where there is no such kind of client for it."""
    asynchronous: Mode | None

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The result with each kind of client."""
        return tuple(mode for mode in (self.sync, self.asynchronous) if mode is not None)

    @property
    def outcome(self) -> Outcome:
        """The worse of both outcomes."""

        def badness(mode: Mode) -> int:
            return 2 if mode.outcome in BAD else 1 if mode.outcome in _UNSURE else 0

        return max(self.modes, key=badness).outcome

    @property
    def level(self) -> Level:
        """Whether the counts of this shape are correct."""
        outcome = self.outcome
        return "problem" if outcome in BAD else "warning" if outcome in _UNSURE else "ok"

    @property
    def usage(self) -> str | None:
        """Where the tokens came from, if both kinds of client agree; else that of the sync one."""
        return next((mode.usage for mode in self.modes if mode.usage is not None), None)

    @property
    def unchanged(self) -> bool | None:
        """Whether the program saw, and sent, what it does without the meter; ``None`` where that was not tried."""
        if any(mode.outcome in ("changed", "request_changed", "raised") for mode in self.modes):
            return False
        return True if any(mode.records is not None for mode in self.modes) else None

    def to_dict(self) -> dict[str, Any]:
        """The trial as plain JSON values."""
        return {
            "name": self.name,
            "level": self.level,
            "outcome": self.outcome,
            "expected_records": self.expected,
            "usage": self.usage,
            "unchanged": self.unchanged,
            "sync": None if self.sync is None else self.sync._asdict(),
            "async": None if self.asynchronous is None else self.asynchronous._asdict(),
        }


_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. Its sentences are made of its code and its values."""

    area: str
    """What was checked: ``sdk``, ``python``, ``environment``, ``ledger``, ..."""
    code: str
    """What was found, the same in every language."""
    level: Level = "ok"
    values: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    def message(self, m: Messages) -> str:
        """What was found, as a sentence."""
        return m(f"{self.area}.{self.code}", **self.values)

    def advice(self, m: Messages) -> str | None:
        """What to do, if there is something to do."""
        key = f"{self.area}.{self.code}.do"
        return m(key, **self.values) if key in m else None

    def to_dict(self, m: Messages) -> dict[str, Any]:
        """The finding as plain JSON values."""
        return {
            "area": self.area,
            "code": self.code,
            "level": self.level,
            "message": self.message(m),
            "advice": self.advice(m),
            "values": dict(self.values),
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that an examination found. Immutable."""

    trials: tuple[Trial, ...]
    findings: tuple[Finding, ...]
    sdk: str | None
    """The version of openai that was tried; ``None`` where there is none."""
    meter: str
    """The version of openai_meter."""
    python: str

    @property
    def level(self) -> Level:
        """The worst of all levels."""
        levels = set(self._levels())
        return next((level for level in ("problem", "warning") if level in levels), "ok")

    @property
    def ok(self) -> bool:
        """Whether there is no problem; warnings are not problems."""
        return self.level != "problem"

    def count(self, level: Level) -> int:
        """How many trials and findings have a level."""
        return self._levels().count(level)

    def _levels(self) -> list[Level]:
        return [trial.level for trial in self.trials] + [finding.level for finding in self.findings]

    def exit_code(self, *, strict: bool = False) -> int:
        """What the command ends with: 0, or 1 for problems; with ``strict`` for warnings too."""
        return int(not self.ok or (strict and self.level != "ok"))

    def to_dict(self, lang: str | None = None) -> dict[str, Any]:
        """The diagnosis as plain JSON values; ``code`` and ``outcome`` are the same in every language.

        Raises:
            ConfigurationError: there is no such language.
        """
        m = sentences(lang)
        return {
            "version": 1,
            "level": self.level,
            "problems": self.count("problem"),
            "warnings": self.count("warning"),
            "openai": self.sdk,
            "openai_meter": self.meter,
            "python": self.python,
            "trials": [trial.to_dict() for trial in self.trials],
            "findings": [finding.to_dict(m) for finding in self.findings],
        }
