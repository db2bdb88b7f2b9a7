"""Keeps the meter's own faults away from the host program: each is caught, counted, and logged once per kind.

Every entrance from the host program's side is guarded like this::

    try:
        ...the meter's work...
    except Exception as error:
        faults.caught(error, "what was being done")

A fault costs at most a record, never a call. The project's own tests set :data:`reraise`, so that no fault hides there.
"""

from __future__ import annotations

import logging
from collections import Counter

from openai_meter.core import settings
from openai_meter.core.formatting import printable

__all__ = ["caught", "count", "kinds", "reraise"]

logger = logging.getLogger("openai_meter")
# Without a handler anywhere, logging would write warnings to the program's standard error.
logger.addHandler(logging.NullHandler())


def _make_visible(record: logging.LogRecord) -> bool:
    """Replaces control characters in the values of a log record: names of models come from hosts, tags from users."""
    try:
        if isinstance(record.args, tuple):
            record.args = tuple(
                value if isinstance(value, int | float) or not str(value) else printable(value, _LONGEST)
                for value in record.args
            )
    except Exception:
        record.args = tuple("?" for _ in record.args or ())
    return True


_LONGEST = 2_000
"""Characters of a value in a log record."""
logger.addFilter(_make_visible)  # the whole package logs by this logger

reraise: bool = settings.get("reraise_faults")
"""Whether a fault is raised where it happens instead of being swallowed (for this project's tests)."""

_kinds: Counter[str] = Counter()


def caught(error: Exception, doing: str) -> None:
    """Counts a fault of the meter, and logs it the first time its kind is seen.

    The log has the place and the type of the fault but not its message: a message may quote what the program sent.
    """
    kind = f"{doing}: {type(error).__name__}"
    first = kind not in _kinds
    _kinds[kind] += 1
    if reraise:
        raise error
    if first:
        _log(error, doing)


def _log(error: Exception, doing: str) -> None:
    try:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame is not None else "unknown place"
        logger.warning(
            "openai_meter could not finish %s (%s at %s); the program is not affected, a record may be missing",
            doing,
            type(error).__name__,
            where,
        )
    except Exception:  # noqa: S110 - a log handler of the program is broken: there is no place to report it
        pass


def count() -> int:
    """The number of faults in this process so far."""
    return _kinds.total()


def kinds() -> dict[str, int]:
    """How often each kind of fault happened in this process."""
    return dict(_kinds)


def forget() -> None:
    """Sets the count back to zero (after a fork: a child counts its own)."""
    _kinds.clear()
