"""The walls of the house: who may import whom, where the SDK is known, where code is async."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path

import pytest

import openai_meter

PACKAGE = Path(openai_meter.__file__).parent

# Imports point upwards in this list only.
HOUSE = [
    "forking",
    "errors",
    "faults",
    "bounded",
    "frozen",
    "worker",
    "money",
    "usage",
    "spoken",
    "heard",
    "facts",
    "evidence",
    "call",
    "answers",
    "deltas",
    "endpoints",
    "vocabulary",
    "estimates",
    "prices",
    "messages",
    "agents_sdk",
    "scope",
    "sums",
    "groups",
    "thresholds",
    "webhook",
    "alarms",
    "store",
    "pulse",
    "advice",
    "tariff",
    "sinks",
    "history",
    "reporting",
    "handed",
    "services",
    "ledger",
    "meter",
    "observe",
    "bodies",
    "asking",
    "streams",
    "patching",
    "threads",
    "hosts",
    "turns",
    "stretches",
    "sessions",
    "sdk",
    "seam",
    "websockets",
    "intercept",
    "prometheus",
    "otel",
    "captures",
    "reports",
    "notebook",
    "tracker",
    "actions",
    "demo",
    "testing",
    "pytest_plugin",
    "ending",
    "auto",
    "runner",
    "inquiries",
    "dashboards",
    "server",
    "serving",
    "archives",
    "upkeep",
    "live",
    "dispatches",
    "doctor",
    "cli",
]
KNOWS_OPENAI = {"sdk", "demo"}
KNOWS_WRAPT = {"seam", "patching"}
ASYNC = {"captures", "seam", "streams", "websockets", "scope", "demo", "server"}
HEAVY = {"rich", "typer", "openai", "tiktoken", "genai_prices", "wrapt", "httpx", "httpx2", "pydantic"}

MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in {"__init__.py", "__main__.py"})
EACH = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path, *, everywhere: bool) -> set[str]:
    """The modules that a file imports: at its top, or everywhere in it; those for type checkers do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_its_place() -> None:
    """The house in this file is the house on disk."""
    assert {room(path) for path in MODULES} == set(HOUSE)


@EACH
def test_imports_point_upwards(path: Path) -> None:
    """At its top a module imports only what stands above it."""
    above = HOUSE[: HOUSE.index(room(path)) + 1]
    ours = {name.split(".")[1] for name in imports(path, everywhere=False) if name.startswith("openai_meter.")}
    assert (ours & set(HOUSE)) <= set(above)


@EACH
def test_only_the_seam_knows_the_sdk(path: Path) -> None:
    """One module knows openai, and two know wrapt."""
    roots = {name.split(".")[0] for name in imports(path, everywhere=True)}
    assert "openai" not in roots or room(path) in KNOWS_OPENAI
    assert "wrapt" not in roots or room(path) in KNOWS_WRAPT


@EACH
def test_async_code_stands_in_few_places(path: Path) -> None:
    """What is shared by sync and async code is sync: no module but the shells has a coroutine."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    has = any(isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor) for node in ast.walk(tree))
    assert not has or room(path) in ASYNC


@EACH
def test_what_is_heavy_is_imported_late(path: Path) -> None:
    """The modules behind ``import openai_meter`` import nothing heavy at their top."""
    if room(path) not in {"reports", "demo", "cli", "live", "doctor"}:
        assert not {name.split(".")[0] for name in imports(path, everywhere=False)} & HEAVY


def test_public_names_are_sorted_and_there() -> None:
    """``__all__`` is sorted, complete, and every name in it exists."""
    names = openai_meter.__all__
    assert list(names) == sorted(names)
    for name in names:
        with contextlib.suppress(openai_meter.MissingExtraError):  # it is there for those who have the extra
            assert hasattr(openai_meter, name)
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    ours = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "openai_meter" in str(node.module)]
    assert {alias.name for node in ours for alias in node.names} | {"__version__"} == set(names)


@EACH
def test_modules_stay_small(path: Path) -> None:
    """A module of more than 420 lines is asking to be two."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420
