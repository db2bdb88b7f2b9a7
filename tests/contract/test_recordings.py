"""Recorded API traffic against the meter: one record with the recorded tokens for what is billed, none for the rest.

The recordings are not part of the project. ``OPENAI_METER_RECORDINGS`` names the directory that holds
``recordings.jsonl``; without it, everything here is skipped.

The rule that is tested, stated here without a look at the package's own table:

* A POST to an inference endpoint (:data:`INFERENCE`) is billed: exactly one record. Only a background response that is
  not finished is not counted yet: its record comes with the first poll that finds it finished.
* A POST that starts work on the server (:data:`WORK_STARTED`: runs, batches, fine-tuning), and what looks at such work
  (:data:`WORK_SEEN`), is one record if the work is seen finished, else none.
* ``GET /responses/{id}`` is one record if the response is finished and was made in the background, else none: any other
  was paid for by its POST.
* A POST of the first two kinds that is answered with an error status is one record with the status ``error`` and the
  class of the exception; what only looks at work, or goes on with it, is none then.
* Everything else is free, or repeats what was told before: no record. So is every cancelling.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
from collections.abc import Iterator
from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any, NamedTuple

import openai
import pytest
from expected_estimates import guessed
from openai import AsyncOpenAI, OpenAI
from replay import MODES, Line, Outcome, Player, Runner, asked, differences, load, play, run_now

import openai_meter
from openai_meter import Call, Meter
from openai_meter.metering import call_in_flight

DIRECTORY = os.environ.get("OPENAI_METER_RECORDINGS", "")
LINES = load(DIRECTORY) if DIRECTORY else []

pytestmark = [
    pytest.mark.skipif(not DIRECTORY, reason="OPENAI_METER_RECORDINGS names no directory with recordings.jsonl"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # the SDK's own, of assistants and their like
]

INFERENCE = frozenset(
    {
        "/chat/completions", "/completions", "/responses", "/responses/compact", "/embeddings", "/moderations",
        "/images/generations", "/images/edits", "/images/variations",
        "/audio/speech", "/audio/transcriptions", "/audio/translations",
    }
)  # fmt: skip
WORK_STARTED = frozenset({"/threads/runs", "/threads/{id}/runs", "/batches", "/fine_tuning/jobs"})
WORK_SEEN = frozenset(
    {
        ("GET", "/threads/{id}/runs/{id}"),
        ("POST", "/threads/{id}/runs/{id}/submit_tool_outputs"),
        ("GET", "/batches/{id}"),
        ("GET", "/fine_tuning/jobs/{id}"),
    }
)
FINISHED = frozenset({"completed", "succeeded", "incomplete", "failed", "expired", "cancelled"})
ERROR_CLASSES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    500: "InternalServerError",
    503: "InternalServerError",
}

SAMPLE = 5
"""Every so many lines of these endpoints are also played through the raw and the streaming responses."""
PART = pytest.mark.parametrize("every", [SAMPLE, pytest.param(1, marks=pytest.mark.thorough)], ids=["sample", "all"])
"""A test plays a sample of the lines; all of them with ``--thorough``."""
SAMPLED = ("/chat/completions", "/responses", "/completions", "/embeddings")

GROUPS = {
    "chat": ("/chat/completions",),
    "completions": ("/completions",),
    "responses": ("/responses",),
    "embeddings": ("/embeddings",),
    "moderations": ("/moderations",),
    "images": ("/images",),
    "audio": ("/audio",),
    "threads": ("/threads",),
    "batches": ("/batches",),
    "fine_tuning": ("/fine_tuning",),
    "the rest": (
        "/assistants", "/containers", "/conversations", "/files", "/models", "/organization", "/realtime", "/skills",
        "/uploads", "/vector_stores",
    ),
}  # fmt: skip
"""All lines, by how their path begins."""
FREE = frozenset({"the rest"})
WITHOUT_USAGE = frozenset({"moderations", "fine_tuning", "the rest"})


def group(name: str) -> list[Line]:
    """The lines of a group."""
    return [line for line in LINES if line.endpoint.startswith(GROUPS[name])]


def sample(lines: list[Line], every: int) -> list[Line]:
    """One line in so many, and the first line of each kind."""
    kinds: set[tuple[Any, ...]] = set()
    kept = []
    for place, line in enumerate(lines):
        kind = (line.method, line.endpoint, line.status, line.stream, is_billed(line), told(line).usage is None)
        if place % every == 0 or kind not in kinds:
            kept.append(line)
        kinds.add(kind)
    return kept


# --- what the recording says ------------------------------------------------------------------------------------------


def is_billed(line: Line) -> bool:
    """Whether a record is expected; the module's docstring states the rule."""
    place = (line.method, line.endpoint)
    inference = line.method == "POST" and line.endpoint in INFERENCE
    starts = line.method == "POST" and line.endpoint in WORK_STARTED
    if line.status >= 400:
        return inference or starts
    answer = told(line)
    finished = answer.state in FINISHED
    if inference:
        return finished or not asked(line).get("background")
    if place == ("GET", "/responses/{id}"):
        return finished and answer.background
    return (starts or place in WORK_SEEN) and finished


def tells_usage(line: Line) -> bool:
    """Whether a record with usage is expected: what the API says of an error's usage is not billed."""
    return line.status < 400 and is_billed(line) and told(line).usage is not None


def is_open(line: Line) -> bool:
    """Whether work on the server was begun by this very call, and is not finished."""
    starts = line.endpoint in WORK_STARTED or (line.endpoint == "/responses" and bool(asked(line).get("background")))
    return line.method == "POST" and line.status < 400 and starts and not is_billed(line)


class Told(NamedTuple):
    """What the body of an answer tells, read by the test itself."""

    usage: dict[str, Any] | None
    service_tier: str | None
    state: str | None
    """The status of the response, the run or the job, as it was said last."""
    background: bool

    def part(self, *places: tuple[str, ...]) -> int:
        """A part of the tokens, at whichever of these places it stands."""
        for place in places:
            value: Any = self.usage
            for key in place:
                value = value.get(key) if isinstance(value, dict) else None
            if value:
                return int(value)
        return 0

    @property
    def cached(self) -> int:
        """The input tokens that came from the cache."""
        details = ("prompt_tokens_details", "input_tokens_details", "prompt_token_details", "input_token_details")
        tops = ("cached_tokens", "prompt_cache_hit_tokens")
        return self.part(*((one, "cached_tokens") for one in details), *((one,) for one in tops))

    @property
    def reasoning(self) -> int:
        """The output tokens that were spent on reasoning."""
        details = ("completion_tokens_details", "output_tokens_details")
        return self.part(*((one, "reasoning_tokens") for one in details), ("reasoning_tokens",))


@cache
def told(line: Line) -> Told:
    """The last that an answer tells of each of these; a run's steps and messages are not the run."""
    usage = tier = state = None
    background = False
    for said in line.said():
        if line.stream and said.get("object") in ("thread.run.step", "thread.message", "thread.message.delta"):
            continue
        for place in (said.get("x_groq"), said.get("response"), said):
            if isinstance(place, dict):
                usage = place.get("usage") or usage
                tier = place.get("service_tier") or tier
                state = place.get("status") or state
                background = background or place.get("background") is True
    return Told(usage, tier, state, background)


# --- what the meter says ----------------------------------------------------------------------------------------------


def wrong_records(line: Line, outcome: Outcome, calls: tuple[Call, ...]) -> Iterator[str]:
    """Whatever is not as the recording says."""
    if len(calls) != is_billed(line):
        yield f"{len(calls)} records instead of {int(is_billed(line))}"
    elif calls:
        yield from _unequal(_expected(line, outcome, calls[0]), calls[0])
        if (calls[0].status == "error") != (outcome.error is not None):
            yield f"status {calls[0].status!r}, but the program got {outcome.error}"


def wrong_tokens(line: Line, call: Call) -> Iterator[str]:
    """Whatever is not as the recording says, for an answer that was read in another way."""
    expected = _expected(line, None, call)
    yield from _unequal({name: value for name, value in expected.items() if name not in ("status", "error_type")}, call)


def _expected(line: Line, outcome: Outcome | None, call: Call) -> dict[str, Any]:
    request = asked(line)
    expected: dict[str, Any] = {
        "model": line.model or request.get("model"),
        "requested_model": request.get("model"),
        "stream": bool(request.get("stream")),
        "service_tier": None,
    }
    if line.status >= 400:
        return expected | NOTHING | {"status": "error", "error_type": ERROR_CLASSES[line.status]}
    body = told(line)
    expected["service_tier"] = body.service_tier
    if outcome is not None and outcome.error is not None:
        expected |= {"status": "error", "error_type": outcome.error[0]}
    if line.usage is None and body.usage is None:
        return expected | NOTHING | _estimated(line, call)
    expected |= {
        "usage_source": "api",
        "usage.cached_input_tokens": body.cached,
        "usage.reasoning_tokens": body.reasoning,
    }
    usage = line.usage
    if usage is None:  # the recording's own field does not know Groq's place for it
        assert body.usage is not None
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        usage = [body.usage[name] for name in names]
    tokens_in, tokens_out, total = usage
    if body.reasoning and None not in usage and total == tokens_in + tokens_out + body.reasoning:
        tokens_out += body.reasoning  # x.ai reports reasoning next to the output, and bills both
    usage = [tokens_in, tokens_out, total]
    tokens = dict(zip(("usage.input_tokens", "usage.output_tokens", "usage.total_tokens"), usage, strict=True))
    if line.endpoint == "/embeddings":
        tokens["usage.output_tokens"] = 0
    return expected | {name: number for name, number in tokens.items() if number is not None}


def _estimated(line: Line, call: Call) -> dict[str, Any]:
    """What is estimated where the API told nothing, worked out from the recording."""
    said = line.response_sse if line.stream else json.dumps(line.response_json)
    request = SimpleNamespace(body=json.dumps(asked(line), default=repr))  # uploads are bytes
    found = guessed(call, request, (said or "").encode())
    if found is None:
        return {}
    source, usage = found
    return {"usage_source": source, **{f"usage.{name}": number for name, number in usage.items()}}


NOTHING = {
    "usage_source": "none",
    "usage.input_tokens": None,
    "usage.output_tokens": None,
    "usage.total_tokens": None,
    "usage.cached_input_tokens": 0,
    "usage.reasoning_tokens": 0,
}
"""Unknown is not zero."""


def _unequal(expected: dict[str, Any], call: Call) -> Iterator[str]:
    for name, value in expected.items():
        owner, _, part = name.rpartition(".")
        found = getattr(call.usage if owner else call, part)
        if found != value:
            yield f"{name} is {found!r} instead of {value!r}"


# --- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def player() -> Iterator[Player]:
    """The server of all tests."""
    player = Player()
    gc.freeze()  # the recordings and the SDK are most of what the collector would look at, again and again
    with player.server:
        yield player
    assert not player.server.faults


class Side(NamedTuple):
    """One of the two kinds of clients, and how its calls are run."""

    client: Any
    run: Runner


@pytest.fixture(scope="module", params=["sync", "async"])
def side(request: pytest.FixtureRequest, player: Player) -> Iterator[Side]:
    """One client for all tests, sync or async, that does not retry."""
    settings: dict[str, Any] = {"api_key": "a key", "base_url": f"{player.server.url}/v1", "max_retries": 0}
    if request.param == "sync":
        with OpenAI(http_client=openai.DefaultHttpxClient(trust_env=False), **settings) as client:
            yield Side(client, run_now)
        return
    with asyncio.Runner() as runner:
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        client = AsyncOpenAI(http_client=http, **settings)
        yield Side(client, runner.run)
        runner.run(client.close())


def listened(side: Side, player: Player, line: Line, mode: str = "plain") -> tuple[Outcome, Meter]:
    """Makes one call with a meter that has seen nothing before."""
    call_in_flight.WORK.clear()
    meter = openai_meter.install(meter=Meter())
    return side.run(play(side.client, player, line, mode)), meter


def show(text: str) -> None:
    """Prints one line, to be seen with ``pytest -s``."""
    print(f"\n{text}")


def report(wrong: dict[str, list[str]]) -> str:
    """All lines that are not as they should be, for the failure's message."""
    return f"{len(wrong)} lines differ:\n" + "\n".join(f"{key}: {'; '.join(texts)}" for key, texts in wrong.items())


@PART
@pytest.mark.parametrize("name", GROUPS)
def test_every_recording_leaves_its_record(name, every, side, player):
    """A billed call leaves one record as recorded, a free one none, and the program sees no difference."""
    lines = sample(group(name), every)
    compared = records = tokens = posted = 0
    wrong: dict[str, list[str]] = {}
    for line in lines:
        openai_meter.uninstall()
        before = side.run(play(side.client, player, line))
        outcome, meter = listened(side, player, line)
        found = [*differences(before, outcome), *wrong_records(line, outcome, meter.calls)]
        if (line.status >= 400) > (outcome.error is not None):
            found.append(f"status {line.status} raised nothing")
        if len(meter.pending) != is_open(line):
            found.append(f"{len(meter.pending)} calls pending instead of {int(is_open(line))}")
        if found:
            wrong[f"{line.id} {line.method} {line.endpoint} {line.status}"] = found
        compared += outcome.request is not None
        records += len(meter.calls)
        tokens += any(call.usage_source == "api" for call in meter.calls)
        posted += outcome.by_post
    show(f"{name}: {compared} calls, {records} records, {tokens} with usage, {posted} without the SDK's method")
    assert not wrong, report(wrong)
    assert compared == len(lines) > 0
    assert records == sum(map(is_billed, lines))
    assert tokens == sum(map(tells_usage, lines))
    assert bool(records) is (name not in FREE)
    assert bool(tokens) is (name not in WITHOUT_USAGE)


@PART
@pytest.mark.parametrize("endpoint", SAMPLED)
def test_raw_and_streaming_responses_leave_the_same_tokens(endpoint, every, side, player):
    """However the answer is read, the record has the recorded tokens."""
    lines = sample([line for line in LINES if (line.method, line.endpoint) == ("POST", endpoint)][::SAMPLE], every)
    billed = sum(map(is_billed, lines))
    compared: dict[str, int] = dict.fromkeys(MODES[1:], 0)
    records = tokens = 0
    wrong: dict[str, list[str]] = {}
    for mode, line in product(compared, lines):
        _, meter = listened(side, player, line, mode)
        found = [f"{len(meter.calls)} records instead of {int(is_billed(line))}"]
        if len(meter.calls) == is_billed(line):
            found = [text for call in meter.calls for text in wrong_tokens(line, call)]
        if meter.pending and not is_open(line):
            found.append(f"{len(meter.pending)} calls pending")
        if found:
            wrong[f"{line.id} {line.status} {mode}"] = found
        compared[mode] += bool(player.asked)
        records += len(meter.calls)
        tokens += any(call.usage_source == "api" for call in meter.calls)
    show(f"{endpoint}: {compared} calls, {records} records, {tokens} with usage")
    assert not wrong, report(wrong)
    assert set(compared.values()) == {len(lines)} != {0}
    assert records == billed * len(compared)
    assert tokens == sum(map(tells_usage, lines)) * len(compared) > 0


def test_every_recording_is_in_one_group():
    """Every recorded call is compared exactly once."""
    assert sorted(line.id for name in GROUPS for line in group(name)) == sorted(line.id for line in LINES)
    assert LINES
