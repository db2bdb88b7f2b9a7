"""What all commands write: lines of text, JSON, and the sentence that ends a command without success.

Exit codes are those of Unix tools: 0 for success, 1 where the work could not be done, 2 where the arguments cannot be
used.
"""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

__all__ = ["fail", "write_json", "write_lines"]


def write_lines(*lines: str) -> None:
    """Writes lines to standard output. Characters that its encoding lacks are replaced."""
    from openai_meter.reports.text import fitting  # noqa: PLC0415 - not for `run`

    sys.stdout.write(fitting("".join(f"{line}\n" for line in lines), sys.stdout.encoding))


def write_json(data: Any) -> None:
    """Writes plain values to standard output as indented JSON."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def fail(message: str, exit_code: int) -> NoReturn:
    """Ends the process with one sentence on standard error.

    Raises:
        SystemExit: always, with ``exit_code``.
    """
    sys.stderr.write(f"openai-meter: {message}\n")
    raise SystemExit(exit_code)
