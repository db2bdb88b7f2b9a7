"""Runs the sample programs, and the command line, in processes of their own."""

import os
import re
import subprocess
import sys
from pathlib import Path

from paths import PROGRAMS

import openai_meter

PYTHON = [sys.executable, "-W", "error"]


RUN = [*PYTHON, "-m", "openai_meter", "run"]


NOTHING = b"openai-meter: no OpenAI call was made\n"


ACCIDENTAL = re.compile(rb"0x[0-9a-f]+|refcount : \d+")


ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(Path(openai_meter.__file__).parents[1]),
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENAI_METER_RERAISE_FAULTS": "1",
    "NO_PROXY": "*",
    "COLUMNS": "100",
}


def execute(command, **options):
    """Runs a command to its end among the sample programs; gives its exit code, output, and errors."""
    options = {"cwd": PROGRAMS, "env": ENVIRONMENT, "input": b"some\ninput", "timeout": 300} | options
    if "input" in options and "stdin" in options:
        del options["input"]
    if "stderr" not in options:
        options["stderr"] = subprocess.PIPE
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, **options)
    # Where objects lie in memory, and how many refer to one, differs from run to run.
    return done.returncode, done.stdout, done.stderr and ACCIDENTAL.sub(b"?", done.stderr)
