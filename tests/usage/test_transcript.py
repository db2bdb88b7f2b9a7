"""What is taken out of a whole answer for counting its tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openai_meter.usage.transcript import Output, output_of_answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELD = st.sampled_from(
    [
        "choices",
        "message",
        "output",
        "content",
        "tool_calls",
        "function",
        "type",
        "status",
        "arguments",
        "text",
        "action",
    ]
)
SHAPED = st.recursive(
    JSON | st.sampled_from(["message", "reasoning", "function_call", "shell_call"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELD, inner, max_size=5),
    max_leaves=20,
)


def test_transcript_has_an_entry_for_each_choice() -> None:
    """With its calls, its reasoning and its finish reason."""
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    custom = {"type": "custom", "custom": {"name": "shell", "input": "ls"}}
    answer = {
        "choices": [
            {"message": {"content": "Hi", "refusal": None, "reasoning_content": "Hm"}, "finish_reason": "stop"},
            {"message": {"content": None, "tool_calls": [call, custom]}, "finish_reason": "tool_calls"},
            {
                "message": {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
                "finish_reason": "length",
            },
            {"message": {"content": None, "audio": {"transcript": "Hello"}}},
            {"message": {"refusal": "No"}},
        ]
    }
    assert output_of_answer("chat.completions", answer) == (
        Output("Hi", reasoning="Hm", stopped="stop"),
        Output(calls=(("weather", '{"city": "Paris"}'), ("shell", "ls")), stopped="tool_calls"),
        Output(calls=(("f", "{}"),), stopped="length"),
        Output("Hello"),
        Output(refusal="No"),
    )


def test_transcript_of_a_completion_is_its_text() -> None:
    """A choice of the older completions is its text."""
    assert output_of_answer("completions", {"choices": [{"text": " and on", "finish_reason": "length"}]}) == (
        Output(" and on", stopped="length"),
    )


def test_transcript_has_an_entry_for_each_item() -> None:
    """Each item of a response; results of tools are not output of the model."""
    answer = {
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [
            {
                "type": "reasoning",
                "summary": [{"text": "short"}],
                "content": [{"type": "reasoning_text", "text": "So"}],
            },
            {"type": "function_call", "name": "f", "arguments": "{}", "status": "completed"},
            {"type": "web_search_call", "action": {"query": "x", "sources": [{"url": "y"}]}},
            {"type": "code_interpreter_call", "code": "1+1", "outputs": [{"logs": "2"}]},
            {"type": "shell_call", "action": {"commands": ["ls"]}},
            {
                "type": "message",
                "content": [{"text": "It "}, {"text": "is"}, {"refusal": "No"}],
                "status": "incomplete",
            },
        ],
    }
    assert output_of_answer("responses", answer) == (
        Output(reasoning="So", reasoned=True),
        Output(calls=(("f", "{}"),), reasoned=False),
        Output(reasoned=False),
        Output(calls=(("code_interpreter", "1+1"),), reasoned=False, hosted=True),
        Output(calls=(("shell", '{"commands":["ls"]}'),), reasoned=False),
        Output("It is", "No", done=False, stopped="length", reasoned=False),
    )


def test_transcript_of_an_sdk_object_equals_that_of_its_dict() -> None:
    """An SDK object says what the same answer says as a dict."""
    from openai.types.chat import ChatCompletion

    answer = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "Let me see",
                    "reasoning_content": "Hm",
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
            }
        ],
    }
    whole = ChatCompletion.model_validate(answer)
    assert output_of_answer("chat.completions", vars(whole)) == output_of_answer("chat.completions", answer)


@pytest.mark.parametrize("endpoint", ["embeddings", "moderations", "images.generate", "audio.speech", ""])
def test_answer_without_text_has_an_empty_transcript(endpoint: str) -> None:
    """Answers without text have nothing that was said."""
    assert output_of_answer(endpoint, {"choices": [{"text": "x"}], "output": [{"type": "message"}]}) == ()


@given(st.sampled_from(["chat.completions", "completions", "responses"]), st.dictionaries(FIELD, SHAPED, max_size=5))
def test_odd_answers_raise_nothing(endpoint: str, answer: dict) -> None:
    """Whatever an answer contains, reading it gives a transcript and never an error."""
    for one in output_of_answer(endpoint, answer):
        assert all(isinstance(text, str) for text in (one.text, one.refusal, one.reasoning))
        assert all(isinstance(word, str) for call in one.calls for word in call)
