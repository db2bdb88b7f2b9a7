"""The fast way to make frozen dataclasses."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError

import pytest

from openai_meter.core.fast_init import maker
from openai_meter.core.usage import Usage

make = maker(Usage)


def test_fast_constructor_equals_the_class() -> None:
    """The value is equal to a constructed one, of the same class, with the same defaults, and frozen."""
    made = make(1, 2, 3, cached_input_tokens=4)
    assert made == Usage(1, 2, 3, cached_input_tokens=4)
    assert (type(made), hash(made), repr(made)) == (Usage, hash(Usage(1, 2, 3, cached_input_tokens=4)), repr(made))
    assert make() == Usage()
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    with pytest.raises(FrozenInstanceError):
        made.input_tokens = 5


def test_fast_constructor_checks_its_arguments() -> None:
    """A missing or unknown argument is a TypeError."""
    with pytest.raises(TypeError):
        make(colour="red")
