"""Hooks that run after each import of a module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from openai_meter.core import import_hooks
from openai_meter.core.import_hooks import after_import

NAME = "module_with_an_import_hook"


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ModuleType]]:
    """The modules that the hook was called with."""
    (tmp_path / f"{NAME}.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found: list[ModuleType] = []
    after_import(NAME, found.append)
    yield found
    import_hooks._finder.hooks.pop(NAME)
    sys.modules.pop(NAME, None)


def test_hook_runs_after_first_import_deletion_and_reload(seen: list[ModuleType]) -> None:
    """Each import runs the hook, with the module complete."""
    first = importlib.import_module(NAME)
    assert seen == [first]
    assert seen[0].value == 1
    del sys.modules[NAME]
    second = importlib.import_module(NAME)
    assert second is not first
    assert seen == [first, second]
    assert importlib.reload(second) is second
    assert seen == [first, second, second]


def test_hook_registered_again_runs_once(seen: list[ModuleType]) -> None:
    """The same hook, registered three times for a module, runs once."""
    hook = seen.append
    after_import(NAME, hook)
    after_import(NAME, hook)
    importlib.import_module(NAME)
    assert len(seen) == 1
    assert sys.meta_path.count(import_hooks._finder) == 1


def test_module_with_a_hook_keeps_its_loader_spec_and_file(seen: list[ModuleType], tmp_path: Path) -> None:
    """Its loader, its spec and its file are those of the import system."""
    module = importlib.import_module(NAME)
    assert module.__spec__ is not None
    assert type(module.__loader__).__name__ == "SourceFileLoader"
    assert module.__spec__.loader is module.__loader__
    assert module.__file__ == str(tmp_path / f"{NAME}.py")


def test_module_that_raises_runs_no_hook(seen: list[ModuleType], tmp_path: Path) -> None:
    """The error of the import is raised unchanged."""
    (tmp_path / f"{NAME}.py").write_text("raise KeyError('broken')\n")
    importlib.invalidate_caches()
    with pytest.raises(KeyError, match="broken"):
        importlib.import_module(NAME)
    assert seen == []
    assert NAME not in sys.modules


def test_missing_module_raises_as_without_a_hook() -> None:
    """A missing module raises ImportError."""
    after_import("no_such_module_anywhere", lambda _: None)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_anywhere")
    import_hooks._finder.hooks.pop("no_such_module_anywhere")
