"""Readers of whole answers: usage in odd places, hosted tools, tiers."""

from __future__ import annotations

from typing import Any

import pytest

from openai_meter.core.usage import Usage
from openai_meter.usage.responses import ResponseState, read_choices, read_embeddings, read_response

FIGURES = {"prompt_tokens": 41, "completion_tokens": 7, "total_tokens": 48}
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
OTHER = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def choice(**more: Any) -> dict[str, Any]:
    """A choice of a chat completion."""
    return {"index": 0, "message": {"role": "assistant", "content": "Oui."}, "finish_reason": "stop", **more}


@pytest.mark.parametrize(
    "answer",
    [
        {"usage": FIGURES, "choices": [choice()]},
        {"choices": [choice(), choice(usage=FIGURES)]},
        {"usage": ZEROS, "choices": [choice(usage=FIGURES)]},
        {"usage": FIGURES, "choices": [choice(usage=ZEROS)]},
        {"usage": FIGURES, "choices": [choice(usage=OTHER)]},
        {"choices": [choice()], "x_groq": {"usage": FIGURES}},
        {"usage": ZEROS, "choices": [choice()], "x_groq": {"usage": FIGURES}},
    ],
)
def test_usage_of_a_chat_is_found_at_each_place(answer: dict[str, Any]) -> None:
    """The usage at the top counts; a placeholder there is replaced by a usage in a choice or under a host's name."""
    response = ResponseState()
    read_choices(response, answer)
    assert response.total() == Usage(41, 7, 48)


@pytest.mark.parametrize("usage", [{"total_tokens": 9}, {"prompt_tokens": 0, "total_tokens": 9}, {"prompt_tokens": 9}])
def test_usage_of_embeddings_is_all_input(usage: dict[str, Any]) -> None:
    """Embeddings have no output, whichever of the two figures a host leaves out."""
    response = ResponseState()
    read_embeddings(response, {"object": "list", "data": [], "usage": usage})
    total = response.total()
    assert total is not None
    assert (total.input_tokens, total.output_tokens or 0) == (9, 0)


def response_answer(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A response."""
    return {"id": "resp_1", "model": "gpt-5.4", "status": "completed", "output": list(output), "usage": None, **more}


SHELL = {"type": "shell_call", "environment": {"type": "container_reference", "container_id": "cntr_1"}}


@pytest.mark.parametrize(
    ("output", "containers"),
    [
        ([SHELL], ("cntr_1",)),
        ([SHELL, SHELL], ("cntr_1",)),
        ([SHELL, {"type": "code_interpreter_call", "container_id": "cntr_2"}], ("cntr_1", "cntr_2")),
        ([{"type": "shell_call", "environment": {"type": "local"}}], ()),
        ([{"type": "shell_call", "environment": None}], ()),
        ([{"type": "local_shell_call"}], ()),
    ],
)
def test_containers_of_hosted_tools_are_read(output: list[dict[str, Any]], containers: tuple[str, ...]) -> None:
    """Code interpreter and the hosted shell run in containers, each counted once in an answer."""
    response = ResponseState()
    read_response(response, response_answer(*output))
    assert response.containers == containers
    assert response.extra.get("container_sessions", 0) == len(containers)


IMAGE = {"type": "image_generation_call", "status": "completed", "result": "aGk="}
TOLD = {"image_gen": {"input_tokens": 10, "output_tokens": 200, "total_tokens": 210}}


@pytest.mark.parametrize(
    ("answer", "images"),
    [
        (response_answer(IMAGE), 1),
        (response_answer(IMAGE, IMAGE, tools=[{"type": "image_generation"}]), 2),
        (response_answer(IMAGE, tool_usage={"image_gen": {"total_tokens": 0}}), 1),
        (response_answer({**IMAGE, "status": "failed", "result": None}), None),
        (response_answer(IMAGE, tool_usage=TOLD), None),
        (response_answer(), None),
    ],
)
def test_images_of_the_image_tool_without_usage_are_noted(answer: dict[str, Any], images: int | None) -> None:
    """A picture whose tokens the answer does not report is noted, so that the call is only partly priced."""
    response = ResponseState()
    read_response(response, answer)
    assert response.facts.get("unreported_images") == images


@pytest.mark.parametrize(
    ("searches", "tool_usage", "counted"),
    [(2, None, 2), (2, {"web_search": {"num_requests": 1}}, 1), (1, {"web_search": {"num_requests": 0}}, 0)],
)
def test_failed_web_searches_are_not_counted(searches: int, tool_usage: object, counted: int) -> None:
    """Where the answer reports the billed searches, failed ones are left out."""
    items = [{"type": "web_search_call", "status": "completed", "action": {"type": "search"}}] * searches
    response = ResponseState()
    read_response(response, response_answer(*items, tool_usage=tool_usage))
    assert response.extra.get("web_searches", 0) == counted


@pytest.mark.parametrize(("status", "tier"), [("queued", None), ("in_progress", None), ("completed", "auto")])
def test_requested_tier_of_unfinished_work_is_not_the_served_one(status: str, tier: str | None) -> None:
    """A response in progress repeats "auto", which is not the tier that will serve it."""
    response = ResponseState()
    read_response(response, response_answer(status=status, service_tier="auto"))
    assert response.service_tier == tier
