"""What the import of ``install`` costs beside a bare interpreter: ``python benchmarks/startup.py [--rounds 20]``.

Each round starts the interpreter twice, in turn, with all modules compiled beforehand, as pip does it. Beside the
medians stand the best rounds, which noise of the machine does not touch; and the modules that took longest, as
``python -X importtime`` says.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

COMPILED = tempfile.TemporaryDirectory(prefix="openai_meter_startup_")
ENVIRONMENT = {**os.environ, "PYTHONPYCACHEPREFIX": COMPILED.name}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
BARE = "pass"
METERED = "from openai_meter import install"


def started(code: str) -> float:
    """Milliseconds that a new interpreter takes to run a line of code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)
    return (time.perf_counter() - start) * 1e3


def slowest(code: str, number: int) -> list[tuple[float, str]]:
    """The modules whose own code takes longest to run: milliseconds and names."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    rows = [line.removeprefix("import time:").split("|") for line in shown.stderr.splitlines()]
    times = [(int(row[0]) / 1e3, row[2].strip()) for row in rows if row[0].strip().isdigit()]
    return sorted(times, reverse=True)[:number]


def main() -> None:
    """Measures, and prints."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=20)
    rounds = arguments.parse_args().rounds
    started(METERED)  # compiles them
    pairs = [(started(BARE), started(METERED)) for _ in range(rounds)]
    bare, metered = ([pair[place] for pair in pairs] for place in (0, 1))
    print(f"interpreter alone     {statistics.median(bare):7.1f} ms (best {min(bare):.1f})")
    print(f"with install imported {statistics.median(metered):7.1f} ms (best {min(metered):.1f})")
    added = statistics.median(more - less for less, more in pairs)
    print(f"added                 {added:7.1f} ms (best {min(metered) - min(bare):.1f})\n")
    for taken, name in slowest(METERED, 12):
        print(f"{taken:7.2f} ms {name}")


if __name__ == "__main__":
    main()
