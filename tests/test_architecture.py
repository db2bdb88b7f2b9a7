"""What import-linter cannot say of the package's layers: see ``[tool.importlinter]`` in pyproject.toml for the rest."""

from __future__ import annotations

import ast
import contextlib
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from paths import PACKAGE, ROOT, TESTS

import openai_meter
from openai_meter.core.version import DISTRIBUTION

ASYNC = {"examples", "instrumentation", "server", "testing"}
"""The packages with coroutines. Elsewhere only :data:`DECORATORS` have some, which wrap coroutines of the program."""
DECORATORS = {"metering/attribution.py"}
LIGHT = {
    "core",
    "usage",
    "pricing",
    "alerts",
    "budgets",
    "metering",
    "instrumentation",
    "errors.py",
    "api.py",
    "__init__.py",
}
"""What ``install()`` loads: it imports nothing heavy at the top of a module."""
LATE = {"instrumentation/budget_error.py"}
"""What only the first refusal loads, or a program that names the error: a child of an error of openai."""
HEAVY = {"rich", "typer", "openai", "tiktoken", "genai_prices", "wrapt", "httpx", "httpx2", "pydantic", "sqlalchemy"}
ROOT_NAMES = 26
LINES = 420

MODULES = sorted(PACKAGE.rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def top_imports(path: Path) -> set[str]:
    """The packages that a module imports when it is loaded; those for type checkers do not count."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_root_is_short_enough_to_read() -> None:
    """A newcomer reads the names at the package's root in one look: at most 26, dunder files aside."""
    names = {path.name for path in PACKAGE.iterdir() if not path.name.startswith("__")}
    assert len(names) <= ROOT_NAMES, sorted(names)


def test_coroutines_are_in_few_packages() -> None:
    """What sync and async code share is sync; only the outer shells have coroutines."""
    found = {
        named(path)
        for path in MODULES
        if path.relative_to(PACKAGE).parts[0] not in ASYNC
        and any(
            isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    }
    assert found == DECORATORS


def test_installing_loads_nothing_heavy() -> None:
    """The modules behind ``install()`` import heavy packages inside the functions that need them."""
    found = {
        named(path): heavy
        for path in MODULES
        if path.relative_to(PACKAGE).parts[0] in LIGHT
        and named(path) not in LATE
        and (heavy := top_imports(path) & HEAVY)
    }
    assert found == {}


def test_modules_are_short() -> None:
    """A module of more than some 420 lines is asking to be two."""
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > LINES} == {}


def test_every_module_has_a_docstring() -> None:
    """Each module and package begins with a docstring of a real sentence."""
    silent = [
        named(path)
        for path in MODULES
        if len(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "") < len("A sentence.")
    ]
    assert silent == []


def test_public_names_are_sorted_and_exist() -> None:
    """``__all__`` is sorted, complete, and every name in it exists."""
    names = openai_meter.__all__
    assert list(names) == sorted(names)
    for name in names:
        with contextlib.suppress(openai_meter.MissingExtraError):  # it is there for those who have the extra
            assert hasattr(openai_meter, name)
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    ours = [
        node
        for part in tree.body
        if isinstance(part, ast.If)
        for node in ast.walk(part)
        if isinstance(node, ast.ImportFrom) and "openai_meter" in str(node.module)
    ]
    assert {alias.name for node in ours for alias in node.names} == set(names)


@pytest.mark.parametrize(("old", "new"), sorted(openai_meter._RENAMED.items()))
def test_old_public_name_works_and_warns(old: str, new: str) -> None:
    """A public name that has changed gives the new one, with a DeprecationWarning that names it."""
    with pytest.warns(DeprecationWarning, match=rf"openai_meter\.{old} is now called openai_meter\.{new}"):
        found = getattr(openai_meter, old)
    assert found is getattr(openai_meter, new)


def test_messages_use_the_name_of_the_distribution() -> None:
    """The name that messages tell people to install is the one in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == DISTRIBUTION


def test_test_modules_have_different_names() -> None:
    """No two modules of tests have the same name: pytest could not collect them together."""
    names = Counter(path.name for path in TESTS.rglob("test_*.py"))
    assert [name for name, number in names.items() if number > 1] == []
