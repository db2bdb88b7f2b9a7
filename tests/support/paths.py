"""Where the tests find files: the checkout, the package that is tested, the tests' own data."""

from pathlib import Path

import openai_meter

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
"""The checkout: README, pyproject.toml, benchmarks."""
PACKAGE = Path(openai_meter.__file__).resolve().parent
"""The package that is imported: of the checkout, or as installed."""
DATA = TESTS / "data"
PROGRAMS = DATA / "programs"
ANSWERS = DATA / "answers"
BENCHMARKS = ROOT / "benchmarks"
