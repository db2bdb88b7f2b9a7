"""Calls a function after each import of a module, also when the module is loaded anew.

wrapt has post-import hooks too, but those run once: a module that is deleted from ``sys.modules`` and imported again,
or reloaded, is not noticed by them. The finder is the first in ``sys.meta_path`` and finds nothing itself: it calls the
finders after it, and runs the hooks when their loader has run the module.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["Hook", "after_import", "on_import"]

Hook = Callable[[ModuleType], object]


class _Loader:
    """Runs a module with its own loader, and calls the hooks afterwards."""

    def __init__(self, loader: Any, hooks: list[Hook]) -> None:
        self._loader = loader
        self._hooks = hooks

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        create = getattr(self._loader, "create_module", None)
        found: ModuleType | None = None if create is None else create(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        # The program sees the loader that it would see without us.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for hook in self._hooks:
            hook(module)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # while a copy is being made
            raise AttributeError(name)
        return getattr(self._loader, name)


class _Finder:
    """The finder in ``sys.meta_path``; it declines a module without a hook at once."""

    def __init__(self) -> None:
        self.hooks: dict[str, list[Hook]] = {}

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        hooks = self.hooks.get(name)
        if hooks is None:
            return None
        for finder in self._finders_behind():
            spec: ModuleSpec | None = finder.find_spec(name, path, target)
            if spec is None:
                continue
            loader: Any = spec.loader
            if hasattr(loader, "exec_module") and not isinstance(loader, _Loader):
                spec.loader = _Loader(loader, hooks)  # type: ignore[assignment] # has what is called of a loader
            return spec
        return None

    def _finders_behind(self) -> Iterator[Any]:
        behind = False
        for finder in tuple(sys.meta_path):
            if finder is self:
                behind = True
            elif behind and hasattr(finder, "find_spec"):
                yield finder


_finder = _Finder()


def after_import(name: str, hook: Hook) -> None:
    """Calls ``hook(module)`` after each import of the module ``name`` from now on.

    It is called by the thread that imports, and must not raise. It cannot be taken back: the hook itself has to check
    whether it is still wanted. For a module that has been imported already, nothing is called. Not thread-safe.
    """
    hooks = _finder.hooks.setdefault(name, [])
    if hook not in hooks:
        hooks.append(hook)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def on_import(name: str, hook: Hook) -> None:
    """The same as :func:`after_import`; a module that has been imported already is given to ``hook`` at once."""
    after_import(name, hook)
    if (module := sys.modules.get(name)) is not None:
        hook(module)
