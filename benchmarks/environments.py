"""A virtual environment for each package that the project is held against, so that none of them meets another.

They are kept in ``$OPENAI_METER_BENCHMARKS``, or in ``~/.cache/openai_meter/benchmarks``; delete that folder to begin
again. The project is not installed in them: the benchmarks run there by their path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path


class InstallationError(Exception):
    """A package could not be installed; the message is the installer's."""


def python_for(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment that has these packages, made if it is not there as yet.

    It has this process's version of openai, unless the packages refuse that one: then the newest that they take, which
    `versions` tells. Processes may ask for it at the same time: each makes a folder of its own, and the last one to
    be done has its folder used from then on.
    """
    folder = Path(os.environ.get("OPENAI_METER_BENCHMARKS") or Path.home() / ".cache/openai_meter/benchmarks")
    folder.mkdir(parents=True, exist_ok=True)
    asked = [f"openai=={metadata.version('openai')}", *packages]
    note = folder / f"{name}-{sys.version_info.major}.{sys.version_info.minor}.json"
    try:
        kept = json.loads(note.read_text("utf-8"))
    except (OSError, ValueError):
        kept = {}
    place = folder / kept.get("folder", "")
    if kept.get("asked") == asked and _python(place).exists():
        return _python(place)
    place = Path(tempfile.mkdtemp(prefix=f"{note.stem}-", dir=folder))
    try:
        print(f"making an environment for {name}", file=sys.stderr)
        venv.create(place, with_pip=True)
        # The rival is the subject, so it is measured with an openai that it takes rather than not at all.
        if _install(place, asked) and (error := _install(place, ["openai", *packages])):
            raise InstallationError(error)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    fresh = place.with_suffix(".json")
    fresh.write_text(json.dumps({"asked": asked, "folder": place.name}), "utf-8")
    fresh.replace(note)
    if kept.get("folder"):
        shutil.rmtree(folder / kept["folder"], ignore_errors=True)
    return _python(place)


def versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    """The versions of packages in an environment."""
    line = "import json, sys; from importlib.metadata import version; print(json.dumps([*map(version, sys.argv[1:])]))"
    done = subprocess.run([python, "-c", line, *packages], capture_output=True, text=True, check=True, timeout=60)
    return dict(zip(packages, json.loads(done.stdout), strict=True))


def _python(place: Path) -> Path:
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _install(place: Path, packages: Sequence[str]) -> str:
    """Installs; returns the installer's last words if it could not."""
    command = [_python(place), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    return "" if done.returncode == 0 else "; ".join(done.stderr.strip().splitlines()[-2:]) or "pip failed"
