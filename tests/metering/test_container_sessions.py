"""Sessions of containers: 20 minutes from their start, whichever answers use them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from openai_meter.metering import container_sessions
from openai_meter.metering.container_sessions import SESSION, begin_sessions


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    container_sessions._started.clear()
    yield
    container_sessions._started.clear()


def test_container_of_several_answers_is_one_session() -> None:
    """Answers that name the same container within its 20 minutes begin one session."""
    assert [begin_sessions(["a"], at) for at in (0.0, 60.0, SESSION - 1)] == [1, 0, 0]


def test_container_used_after_its_session_begins_another() -> None:
    """A session lasts 20 minutes from its start, not from its last use."""
    assert [begin_sessions(["a"], at) for at in (0.0, SESSION - 1, SESSION, SESSION + 1)] == [1, 0, 1, 0]


def test_each_container_has_its_own_session() -> None:
    """Two containers of one answer are two sessions."""
    assert begin_sessions(["a", "b"], 0.0) == 2
    assert begin_sessions(["b", "c"], 1.0) == 1


def test_concurrent_answers_of_one_container_begin_one_session() -> None:
    """Of many threads that record answers with the same container, one begins its session."""
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: begin_sessions(["a"], 5.0), range(200))) == 1
