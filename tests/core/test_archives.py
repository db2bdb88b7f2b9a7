"""Programs without files on disk: the package in an archive, as compiled files only, or in a frozen program."""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipapp
import zipfile
from pathlib import Path

import pytest
from paths import PACKAGE

PROGRAM = """
import json, sys
import openai_meter
from openai_meter.testing import fake_client
def main():
    meter = openai_meter.install(lang="fr")
    fake_client().chat.completions.create(model="gpt-5-mini", messages=[{"role": "user", "content": "Bonjour"}])
    meter.print_summary(file=sys.stderr)
    print(json.dumps({
        "status": meter.calls[-1].cost_status, "cost": bool(meter.totals.cost), "fr": meter.report().render("table"),
        "languages": openai_meter.core.locale.languages(), "file": openai_meter.__file__,
        "faults": meter.internal_errors,
    }))
main()
"""


def check(done, place):
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert place in found.pop("file")
    table = found.pop("fr")
    assert "Utilisation d'OpenAI" in table
    assert "\xa0$" in table
    assert found == {"status": "priced", "cost": True, "languages": ["en", "fr"], "faults": 0}
    assert "Utilisation d'OpenAI" in done.stderr


def run(command, folder, **environment):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_METER", "PYTHONPATH"))}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=900, env=kept | {"PYTHONUTF8": "1"} | environment, check=False,
        cwd=folder,
    )  # fmt: skip


def copied(folder):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "openai_meter", ignore=ignored)
    return folder


def test_package_in_a_zip_file_has_prices_and_languages(tmp_path):
    """Imported from a zip file, calls have prices and reports their language."""
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for path in PACKAGE.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(PACKAGE.parent))
    check(run([sys.executable, "-c", PROGRAM], tmp_path, PYTHONPATH=str(tmp_path / "package.zip")), "package.zip")


def test_zipapp_with_the_package_is_metered(tmp_path):
    """A zipapp that carries the package runs like any program."""
    source = copied(tmp_path / "source")
    (source / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    zipapp.create_archive(source, tmp_path / "program.pyz")
    check(run([sys.executable, str(tmp_path / "program.pyz")], tmp_path), "program.pyz")


def test_package_of_compiled_files_only_is_complete(tmp_path):
    """Where only .pyc files are shipped, nothing is missing."""
    folder = copied(tmp_path / "compiled")
    compileall.compile_dir(folder, quiet=2, legacy=True)
    for path in folder.rglob("*.py"):
        path.unlink()
    check(run([sys.executable, "-c", PROGRAM], tmp_path, PYTHONPATH=str(folder)), "compiled")


@pytest.mark.e2e
def test_frozen_program_is_metered(tmp_path):
    """PyInstaller packs what the package needs, without options for it."""
    if importlib.util.find_spec("PyInstaller") is None:
        pytest.skip("PyInstaller is missing: frozen programs are NOT tested; pip install pyinstaller")
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    folders = {"dist": tmp_path / "dist", "work": tmp_path / "build", "spec": tmp_path}
    options = [option for name, folder in folders.items() for option in (f"--{name}path", str(folder))]
    # Large packages that the environment of the tests has, and the program does not import.
    lean = [
        f"--exclude-module={name}" for name in ("numpy", "pandas", "pyarrow", "IPython", "plotly", "pytest", "mypy")
    ]
    pack = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "ERROR", *options, *lean]
    built = run([*pack, str(tmp_path / "program.py")], tmp_path)
    assert built.returncode == 0, built.stderr
    (program,) = (path for path in Path(tmp_path, "dist", "program").iterdir() if path.stem == "program")
    shutil.rmtree(tmp_path / "build")
    check(run([str(program)], tmp_path), "_internal")
