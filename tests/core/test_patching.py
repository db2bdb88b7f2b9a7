"""Wrappers around methods of classes."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from openai_meter.core.patching import Patches


def pass_on(wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


def make_class() -> type[Any]:
    class Owner:
        def method(self) -> int:
            return 1

    return Owner


def test_undo_restores_the_identical_function() -> None:
    """After undo() the class has the function that it had."""
    owner, patches = make_class(), Patches()
    original = vars(owner)["method"]
    patches.add(owner, "method", pass_on)
    assert vars(owner)["method"] is not original
    assert owner().method() == 1
    patches.undo()
    assert vars(owner)["method"] is original
    assert patches._places == {}


def test_patched_class_without_a_reference_is_collected() -> None:
    """Its entry is removed."""
    patches = Patches()
    owner = make_class()
    patches.add(owner, "method", pass_on)
    reference = weakref.ref(owner)
    del owner
    gc.collect()
    assert reference() is None
    other = make_class()
    patches.add(other, "method", pass_on)
    assert len(patches._places) == 1
    patches.undo()
    assert patches._places == {}
    assert type(vars(other)["method"]).__name__ == "function"
