"""How close estimates come to what the API has billed, and how long they take.

    python benchmarks/estimate.py [--recordings PATH] [--models] [--known] [--rounds 5] [--json]

Each recorded call of OpenAI and Azure that tells its usage is estimated from its request and its answer's words, with
the usage hidden, and compared; of the output, reasoning that nobody can see is subtracted first. Told are, for each
kind of call, the share of exact counts, and by how much half of the calls, and 95 in 100, are off at most. ``--known``
adds the same figures that earlier rules reached on a far larger collection (``estimate_known.toml``): on the calls that
they were fitted on, and on others of the same projects.

Then the speed: milliseconds to estimate a call with an ordinary text, or a malicious one.
"""

from __future__ import annotations

import os
import sys
import tomllib
from functools import partial
from pathlib import Path

from harness import Report, alternate, arguments, machine, spread, timed
from recorded import compare, figures, read_lines

from openai_meter.usage.estimation import encodings, estimate_call

ENGLISH = "The quick brown fox jumps over the lazy dog, and then it thinks about what it has done. " * 12
CHINESE = "今天天气很好我们去公园散步然后喝一杯咖啡再回家看书" * 40
TEXTS = {
    "English, 1,000 characters": ENGLISH[:1000],
    "Chinese, 1,000 characters": CHINESE,
    "English, 10 MB": ENGLISH * 10_000,
    "Chinese, 10 million characters": CHINESE * 10_000,
    "a x 1,000,000": "a" * 1_000_000,
    "blanks x 1,000,000": " " * 1_000_000,
    "^ x 1,000,000": "^" * 1_000_000,
    "line ends x 1,000,000": "\n" * 1_000_000,
    "emoji x 1,000,000": "😀" * 1_000_000,
}


def milliseconds(text: str) -> float:
    """How long a chat completion with a text takes to estimate."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
    return timed(partial(estimate_call, "chat.completions", body, None, None), 1) / 1e3


def main() -> None:
    """Measures, and prints."""
    parser = arguments((__doc__ or "").partition("\n")[0], rounds=5)
    parser.add_argument("--recordings", default=os.environ.get("OPENAI_METER_RECORDINGS"), metavar="PATH")
    parser.add_argument("--known", action="store_true", help="show what earlier rules reached")
    parser.add_argument("--models", action="store_true", help="split the calls by model too")
    parser.add_argument("--misses", metavar="CELL", help="write the misses of one cell instead: id, estimated, billed")
    options = parser.parse_args()
    if away := [row.name for row in encodings.load_encodings() if not row.loaded]:
        sys.exit(f'there is no vocabulary {away[0]} here: pip install "openai-meter[offline]"')
    columns = ["what", "calls", "exact, %", "median off, %", "p95 off, %", "ms"]
    report = Report("Estimates", columns + ["fitted", "others"] * options.known, machine("tiktoken"))
    lines = list(read_lines(Path(options.recordings))) if options.recordings else []
    cells = dict(zip(("input", "output"), compare(lines), strict=True))
    if options.misses:
        for pair in (cells["input"] | cells["output"])[options.misses]:
            if pair.estimated != pair.billed:
                print(pair.id, pair.estimated, pair.billed)
        return
    known = tomllib.loads(Path(__file__).with_name("estimate_known.toml").read_text(encoding="utf-8"))
    for side, found in cells.items():
        for name in sorted(name for name in found if options.models or name.count(" / ") < 2):
            earlier = [" · ".join(map(str, said)) for said in known[side].get(name, ("", ""))]
            report.add(f"{side}: {name}", *figures(found[name]).values(), "", *earlier * options.known)
    if not lines:
        report.notes.append("No recordings: name them with --recordings PATH, or OPENAI_METER_RECORDINGS.")
    found = alternate({name: partial(milliseconds, text) for name, text in TEXTS.items()}, options.rounds)
    for name, taken in found.items():
        report.add(f"speed: {name}", *[""] * 4, spread(taken), *["", ""] * options.known)
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
