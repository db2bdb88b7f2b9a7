"""What a program's start pays: interpreters that run one line each, in turn, against those that do without the meter.

    python benchmarks/startup.py [--rounds 20] [--slowest 12] [--json]

``import openai_meter`` and ``from openai_meter import install`` are held against the interpreter alone, and against
one that imports openai too. ``install()`` is held against the same, its end included: what it registers for the end of
the process runs. All modules are compiled beforehand, as pip does it. Told are the whole time of the best round, what
the line adds in the best round of each, and the median over the rounds of what it adds; noise of the machine touches
the best least. ``--slowest`` names the modules whose own code takes longest (``python -X importtime``) instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial

from harness import Report, alternate, arguments, machine, spread

COMPILED = tempfile.TemporaryDirectory(prefix="openai_meter_startup_")
ENVIRONMENT = {**os.environ, "PYTHONPYCACHEPREFIX": COMPILED.name}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
ALONE, OPENAI = "pass", "import openai"
INSTALL = "from openai_meter import install"
LINES = {
    ALONE: ALONE,
    OPENAI: ALONE,
    "import openai_meter": ALONE,
    INSTALL: ALONE,
    f"{INSTALL}; install()": ALONE,
    f"{OPENAI}; {INSTALL}": OPENAI,
    f"{OPENAI}; {INSTALL}; install()": OPENAI,
}
"""What is run, and what it is held against."""


def started(line: str) -> float:
    """Milliseconds that a new interpreter takes to run a line."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", line], check=True, env=ENVIRONMENT)
    return (time.perf_counter() - start) * 1e3


def slowest(line: str, number: int) -> Report:
    """The modules whose own code takes longest to run."""
    command = [sys.executable, "-X", "importtime", "-c", line]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT).stderr
    rows = [row.removeprefix("import time:").split("|") for row in told.splitlines()]
    times = sorted(((int(own) / 1e3, name.strip()) for own, _, name in rows if own.strip().isdigit()), reverse=True)
    report = Report(line, ("module", "ms"))
    for took, name in times[:number]:
        report.add(name, took)
    return report


def main() -> None:
    """Measures, and prints."""
    parser = arguments((__doc__ or "").partition("\n")[0], rounds=20)
    parser.add_argument("--slowest", type=int, metavar="NUMBER", help="name so many modules instead")
    options = parser.parse_args()
    if options.slowest:
        started(INSTALL)  # compiles what it imports; below, the round that warms up does
        slowest(INSTALL, options.slowest).show(as_json=options.json)
        return
    found = alternate({line: partial(started, line) for line in LINES}, options.rounds)
    report = Report("Start", ("line", "held against", "best, ms", "adds, best, ms", "adds, ms"), machine("openai"))
    for line, base in LINES.items():
        added = spread([more - less for more, less in zip(found[line], found[base], strict=True)])
        best = min(found[line])
        report.add(line, base, best, best - min(found[base]), added)
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
