"""The rules hold on the quick path: outcomes, bytes sent and records are those of the other way."""

from __future__ import annotations

import asyncio
import os
from dataclasses import fields
from typing import Any

import contract
import pytest
import routed

import openai_meter
from openai_meter.budgets.state import Budgeting
from openai_meter.core import faults
from openai_meter.core.call import Call
from openai_meter.instrumentation import http
from openai_meter.metering import quick_path
from openai_meter.metering.store import Store

BOTH = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
TIMED = {"id", "started_at", "duration", "time_to_first_token", "price_book"}
COMPARED = [field.name for field in fields(Call) if field.name not in TIMED]


@pytest.fixture(autouse=True)
def without_budgets(monkeypatch):
    """Once a process has had a budget, no call takes the quick path: an earlier test may have set one."""
    monkeypatch.setattr(Budgeting, "active", False)


@pytest.fixture
def api():
    with contract.Api() as api:
        yield api
        assert not api.faults


def record(call: Call) -> dict[str, Any]:
    """The fields of a call that do not depend on the time."""
    return {name: getattr(call, name) for name in COMPARED}


def played(api, taken, *, is_async):
    """The outcome of each shape, what it sent and its records, and the number of its plain calls."""
    found = {}
    meter = openai_meter.get_meter()

    async def play(client) -> None:
        for _ in range(2):  # calls of a kind can be plain once one of them has been priced
            for name, shape in contract.SHAPES.items():
                api.restart()
                meter.reset()
                taken.clear()
                outcome = await contract.outcome(shape, client)
                sent = [(one.method, one.path, one.query, dict(one.headers), one.body) for one in api.requests]
                if "image_edit" in name or "transcription" in name:
                    sent = [one[:2] for one in sent]  # the boundary of a multipart body is random
                found[name] = outcome, sent, [record(call) for call in meter.calls], len(taken)

    if is_async:

        async def main() -> None:
            async with routed.async_client(api) as client:
                await play(client)

        asyncio.run(main())
    else:
        with routed.sync_client(api) as client:
            contract.run(play(client))
    return found


PLAIN = {"plain", "from_iterator", "responses", "embeddings", "of_a_copy"}
"""The shapes whose calls are plain: whole answers, of requests without parsers of their own, tools and extra bodies."""


@BOTH
def test_every_shape_has_equal_results_and_records_on_both_paths(api, is_async):
    """Results, requests and records are equal; only plain calls take the quick path."""
    bare = {name: found[0] for name, found in played(api, [], is_async=is_async).items()}
    meter = openai_meter.install(meter=routed.ready_meter())
    with routed.plain_calls() as taken:
        quick = played(api, taken, is_async=is_async)
        with routed.no_quick_path():
            other = played(api, taken, is_async=is_async)
    for name in contract.SHAPES:
        for one, two in zip(quick[name][:-1], other[name][:-1], strict=True):
            assert one == two, name
        assert quick[name][0] == bare[name], name
    assert {name for name, found in quick.items() if found[-1]} == PLAIN
    assert not any(found[-1] for found in other.values())
    assert meter.internal_errors == 0


def broken(*_, **__):
    raise RuntimeError("a part of the meter is broken")


@pytest.mark.parametrize(
    "part",
    [
        (quick_path, "begin"),
        (quick_path, "_kind"),
        (Store, "add_plain"),
        (Store, "_count_plain"),
        (Store, "_set_aside"),
    ],
    ids=lambda part: part[1],
)
def test_fault_in_the_quick_path_does_not_change_the_result(api, monkeypatch, part):
    """Each call is answered; it is counted, or the fault is."""
    meter = openai_meter.install(meter=routed.ready_meter())
    with routed.sync_client(api) as client:
        for _ in range(2):
            contract.chat(client)
        monkeypatch.setattr(faults, "reraise", False)
        with monkeypatch.context() as patch:
            patch.setattr(*part, broken)
            for _ in range(3):
                assert contract.chat(client).choices[0].message.content == contract.TEXT
            counted = meter.totals.calls
        contract.chat(client)
    assert counted + meter.internal_errors >= 5
    assert meter.totals.calls >= 3


FORK = """
import os, contract, openai, openai_meter, routed
meter = openai_meter.install(meter=routed.ready_meter())
library = contract.http_library()
answer = library.MockTransport(lambda request: library.Response(200, json=contract.usage_body()))
client = openai.OpenAI(api_key="demo", base_url=routed.HOME, http_client=library.Client(transport=answer))
with routed.plain_calls() as taken:
    for _ in range(30):
        contract.chat(client)
    assert len(taken) > 20 and len(meter._store._inbox) > 20, (len(taken), len(meter._store._inbox))
    child = os.fork()
    if not child:
        before = meter.totals.calls
        contract.chat(client)
        os._exit(before * 10 + meter.totals.calls)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1, status
    contract.chat(client)
    assert meter.totals.calls == 31, meter.totals
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_calls_waiting_in_a_batch_stay_with_the_parent_of_a_fork():
    """The child counts from zero, and the parent loses none of the waiting calls."""
    code, _, errors = contract.python(FORK)
    assert code == 0, errors


def chain(error: BaseException | None) -> list[tuple[object, ...]]:
    """An exception with those in whose handling it was raised."""
    found: list[tuple[object, ...]] = []
    while error is not None:
        found.append((type(error), str(error), type(error.__cause__), error.__suppress_context__))
        error = error.__context__
    return found


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, ValueError])
@pytest.mark.parametrize("is_broken", [False, True], ids=["whole", "broken"])
def test_exception_of_a_request_is_the_same_without_the_meter(api, monkeypatch, kind, is_broken):
    """The exception, its cause and its context are those of the SDK, also if the call cannot be recorded."""

    def interrupted(client) -> list[tuple[object, ...]]:
        for _ in range(2):
            contract.chat(client)
        with monkeypatch.context() as patch:

            def fail(*_: Any) -> None:
                raise kind("the program's own")

            patch.setattr(client._client._transport, "handle_request", fail)
            if is_broken:
                patch.setattr(http, "CallInFlight", broken)
            try:
                raise KeyError("before")
            except KeyError:
                with pytest.raises(BaseException) as raised:
                    contract.chat(client)
        return chain(raised.value)

    monkeypatch.setattr(faults, "reraise", False)
    with routed.sync_client(api) as client:
        bare = interrupted(client)
        meter = openai_meter.install(meter=routed.ready_meter())
        with routed.plain_calls() as taken:
            assert interrupted(client) == bare
        assert taken
    assert meter.totals.calls + meter.internal_errors == 3
