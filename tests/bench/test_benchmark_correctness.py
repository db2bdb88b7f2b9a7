"""The benchmark of call shapes: the meter passes all of them, and its judge finds what is wrong with others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from paths import BENCHMARKS


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    command = [sys.executable, str(BENCHMARKS / "correctness.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def correctness(monkeypatch) -> Any:
    """The benchmark as a module; its folder is on the path while a test runs."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    import correctness

    yield correctness
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


def test_meter_passes_every_shape():
    """Each shape is judged as right for the meter, with both kinds of client."""
    pytest.importorskip("rich", reason="rich is not installed: this is NOT tested")
    done = run("--json")
    assert done.returncode == 0, done.stderr
    *rows, total = json.loads(done.stdout)["rows"]
    assert {row["shape"]: row["openai_meter"] for row in rows if row["openai_meter"] != "✓"} == {}
    assert total == {"shape": "✓ of all", "openai_meter": len(rows)}
    assert len(rows) > 40


def test_shapes_are_chosen_by_a_part_of_their_names():
    """A run for a few shapes has these alone, and its table equals the JSON."""
    pytest.importorskip("rich", reason="rich is not installed: this is NOT tested")
    done = run("--shape", "n=2", "--why")
    assert done.returncode == 0, done.stderr
    assert "chat stream, n=2" in done.stdout
    assert "AzureOpenAI" not in done.stdout


# --- made-up instrumentations -----------------------------------------------------------------------------------------


class Faulty:
    """Records what it is told to; its clients are patched by the test."""

    def __init__(self) -> None:
        self.records: list[tuple[int | None, int | None]] = []

    def client(self, plain: Any) -> Any:
        return plain

    def seen(self) -> list[tuple[int | None, int | None]]:
        return self.records

    def forget(self) -> None:
        self.records = []

    def flush(self) -> None:
        pass


CHAT = "chat.completions.create"
STREAM = "chat stream, include_usage"


def records(times: int, shift: int = 0) -> Callable[[Faulty, Any], Any]:
    """Records an answer so many times, with so many tokens too many."""

    def keep(recorder: Faulty, answer: Any) -> Any:
        usage = answer.usage
        recorder.records += [(usage.prompt_tokens + shift, usage.completion_tokens)] * times
        return answer

    return keep


def raises(_: Faulty, __: Any) -> Any:
    """Is broken by what it meets."""
    raise TypeError("'NoneType' object is not subscriptable")


def changes(recorder: Faulty, answer: Any) -> Any:
    """Gives the program something else than it asked for."""
    records(1)(recorder, answer)
    return answer.model_dump()


def edits(recorder: Faulty, answer: Any) -> Any:
    """Changes what is in the answer."""
    records(1)(recorder, answer)
    answer.choices[0].message.content = ""
    return answer


class Swallower:
    """A stream that keeps the first chunk for itself."""

    def __init__(self, recorder: Faulty, stream: openai.Stream[Any]) -> None:
        self._recorder, self._stream = recorder, stream
        self.__class__ = type("Swallower", (Swallower, type(stream)), {})

    def __iter__(self) -> Iterator[Any]:
        chunks = iter(self._stream)
        next(chunks)
        for chunk in chunks:
            if chunk.usage is not None:
                records(1)(self._recorder, chunk)
            yield chunk


def wrapped(monkeypatch: pytest.MonkeyPatch, does: Callable[[Faulty, Any], Any]) -> Callable[[], Faulty]:
    """What begins an instrumentation of sync chats that does this with each answer."""
    from openai.resources.chat import AsyncCompletions, Completions

    def begin() -> Faulty:
        recorder = Faulty()
        create, create_async = Completions.create, AsyncCompletions.create

        async def created(self: Any, **asked: Any) -> Any:
            return does(recorder, await create_async(self, **asked))

        monkeypatch.setattr(Completions, "create", lambda self, **asked: does(recorder, create(self, **asked)))
        monkeypatch.setattr(AsyncCompletions, "create", created)
        return recorder

    return begin


@pytest.mark.parametrize(
    ("does", "problem"),
    [
        (records(1), ""),
        (records(2), "2 records, not 1"),
        (records(0), "0 records, not 1"),
        (records(1, shift=1), "tokens 1212/347, not 1211/347"),
        (raises, "breaks the program: TypeError: 'NoneType' object is not subscriptable"),
        (changes, "the program gets builtins.dict for openai.ChatCompletion"),
        (edits, "the program sees another ChatCompletion as thing 1 (choices)"),
    ],
)
def test_each_fault_has_its_own_mark(correctness, monkeypatch, does, problem):
    """Counting twice or not at all, wrong tokens, raising and changed answers are ✗, each by its name."""
    ((_, found),) = correctness.judged(wrapped(monkeypatch, does), [CHAT])
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_swallowed_chunk_is_found(correctness, monkeypatch):
    """A stream that lacks a chunk is ✗ for that client."""

    def swallow(recorder: Faulty, stream: Any) -> Any:
        return Swallower(recorder, stream) if isinstance(stream, openai.Stream) else stream

    ((_, found),) = correctness.judged(wrapped(monkeypatch, swallow), [STREAM])
    assert found.startswith("sync: the program sees another ChatCompletionChunk as thing 1 (choices)")
    assert "async: 0 records, not 1" in found


def test_changed_request_is_found(correctness, monkeypatch):
    """An instrumentation that changes the request is ✗, even if the answer is right."""
    from openai.resources.chat import Completions

    def begin() -> Faulty:
        recorder, create = Faulty(), Completions.create

        def forgetful(self: Any, *, metadata: Any = None, **asked: Any) -> Any:
            return records(1)(recorder, create(self, **asked))

        monkeypatch.setattr(Completions, "create", forgetful)
        return recorder

    ((_, found),) = correctness.judged(begin, ["metadata="])
    assert found.startswith("sync: changes the request")


HANGING = """
import threading
from openai.resources.responses import Responses
from correctness import _Bare

def hang():
    Responses.create = lambda *_, **__: threading.Event().wait()
    return _Bare()

def end():
    import os
    Responses.create = lambda *_, **__: os._exit(3)
    return _Bare()

def fail():
    raise ImportError("it has no such name")
"""


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("hang", ("", "hangs", "")),
        ("end", ("", "ends the process: it said nothing", "")),
        ("fail", ("could not be started: ImportError: it has no such name",) * 3),
    ],
)
def test_shapes_after_a_hang_or_crash_are_played(correctness, monkeypatch, tmp_path, function, expected):
    """The one that hangs or ends the process is ✗; one that cannot start has its reason."""
    (tmp_path / "made_up.py").write_text(HANGING)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(BENCHMARKS.parent)]))
    shapes = [CHAT, "responses.create", "embeddings.create"]
    found = correctness.found_by(f"made_up:{function}", sys.executable, shapes, patience=5)
    assert tuple(found[name] for name in shapes) == expected
