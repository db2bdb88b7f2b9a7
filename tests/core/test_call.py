"""The value ``Call`` and its ids."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from openai_meter import Call, Usage
from openai_meter.core.call import current_status, new_call_id

CALL = Call(
    id="0191",
    started_at=datetime(2026, 11, 22, 10, 20, 30, 123456, UTC),
    duration=1.25,
    endpoint="chat.completions",
    provider="openai",
    model="gpt-6-luna",
    requested_model="gpt-6-luna",
    status="ok",
    usage=Usage(10, 5, 15, cached_input_tokens=8),
    usage_source="api",
    response_id="chatcmpl-1",
    service_tier="default",
    stream=True,
    time_to_first_token=0.5,
    cost_pico=1_250_000,
    agent="need_analysis",
    tags={"team": "été"},
)


def test_call_survives_json() -> None:
    """A call written as JSON is the same when it is read back, money to the last digit."""
    text = json.dumps(CALL.to_dict())
    assert Call.from_dict(json.loads(text)) == CALL
    assert json.loads(text)["cost"] == "0.00000125"
    assert CALL.cost == Decimal("0.00000125")
    assert CALL.cost_lines == ()
    assert json.loads(text)["started_at"] == "2026-11-22T10:20:30.123456+00:00"


@pytest.mark.parametrize(
    "change",
    [{"status": "fine"}, {"started_at": "soon"}, {"usage": 3}, {"cost": "much"}, {"cost": 1.5, "status": None}],
)
def test_dict_that_is_not_a_call_raises(change: dict[str, object]) -> None:
    """A dict that is no call raises one clear error."""
    with pytest.raises(ValueError, match=r"not a call|not a status|isoformat|Invalid|no number"):
        Call.from_dict({**CALL.to_dict(), **change})
    with pytest.raises(ValueError, match="not a call"):
        Call.from_dict({})


def test_call_with_an_old_status_is_read_with_the_new_one() -> None:
    """A call that an earlier version wrote as ``cut`` is ``aborted``."""
    call = replace(CALL, status="aborted")
    assert call.to_dict()["status"] == "aborted"
    assert Call.from_dict({**call.to_dict(), "status": "cut"}) == call


@pytest.mark.parametrize("status", ["ok", "aborted", "of tomorrow", None, [], 5])
def test_status_that_was_not_renamed_stays(status: object) -> None:
    """Only old names are changed; what is not a status is left for the caller to refuse."""
    assert current_status(status) == status


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, "gpt-6-luna (chat.completions, ok), 15 tokens, $0.00000125, 1.2 s, agent=need_analysis"),
        (
            {"usage": Usage(), "usage_source": "none", "cost_pico": None, "agent": "a\nb", "model": None},
            "unknown model (chat.completions, ok), tokens unknown, cost unknown, 1.2 s, agent=a\ufffdb",
        ),
        (
            {"status": "error", "error_type": "RateLimitError", "usage_source": "chars", "cost_pico": 0, "agent": None},
            "gpt-6-luna (chat.completions, error: RateLimitError), ~15 tokens, ~$0.00, 1.2 s",
        ),
    ],
)
def test_text_of_a_call_is_one_line_with_its_figures(change: dict[str, Any], text: str) -> None:
    """Model, status, tokens, dollars, time and names; unknown values are marked."""
    assert str(replace(CALL, **change)) == text


def test_ids_are_uuids_of_version_7_in_the_order_of_time() -> None:
    """Ids are well-formed, all different, and sort as the calls began, within a millisecond too."""
    starts = [1_700_000_000 + step * 0.0004 for step in range(1_000)]
    ids = [new_call_id(start) for start in starts]
    assert sorted(ids) == ids
    assert len({new_call_id(starts[0]) for _ in range(1_000)}) == 1_000
    one = uuid.UUID(ids[0])
    assert (one.version, one.variant, str(one)) == (7, uuid.RFC_4122, ids[0])
    assert one.int >> 80 == 1_700_000_000_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_forked_child_makes_other_ids() -> None:
    """Random halves that were drawn before a fork are used by the parent only."""
    new_call_id(1.0)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_call_id(1.0).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)
    ours = new_call_id(1.0)
    assert (len(theirs), theirs[:18]) == (36, ours[:18])
    assert theirs[19:] != ours[19:]


def test_errors_and_failures_count_as_failed() -> None:
    """A call failed if it raised, or if the API reported it; an aborted or incomplete call did not fail."""
    failed = {
        status
        for status in ("ok", "incomplete", "failed", "aborted", "error")
        if Call.from_dict({**CALL.to_dict(), "status": status}).failed
    }
    assert failed == {"failed", "error"}
