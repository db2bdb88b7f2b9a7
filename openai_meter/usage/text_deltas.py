"""The quick way for events with a piece of text: almost all events of a stream, which have nothing else.

Each function takes the text of such an event and returns ``True``. For every other event it returns ``False``, and has
read nothing: those events are read by the folders of ``stream_events.py``, which read everything. Which function serves
which endpoint stands in ``endpoints.py``.

This runs for each event on the consumer's path. So it is written out, each field is read once, and what differs most
often is looked at first: reading ``__dict__`` of a pydantic model costs as much as two lookups in it, and a function
call as much as two.
"""

from __future__ import annotations

from typing import Any

from openai_meter.usage.responses import ResponseState

__all__ = ["add_chat_text", "add_response_text"]


def add_chat_text(response: ResponseState, chunk: Any) -> bool:
    """Takes the text of a chunk of a chat completion, if the chunk has one choice, with text and nothing else.

    Constant fields (model, id, and the tier once it is known) are read by the folder until they are known.
    """
    try:
        fields = chunk.__dict__
        [choice] = fields["choices"]
        choice_fields = choice.__dict__
        delta = choice_fields["delta"]
        delta_fields = delta.__dict__
        text = delta_fields["content"]
        if (
            text
            and type(text) is str
            and fields["usage"] is None
            and choice_fields["finish_reason"] is None
            and (
                (index := choice_fields["index"]) is response.text_index
                or (response.model is not None and response.response_id is not None and response.begin_text(index))
            )
            and (room := response.text_room - len(text)) >= 0
            and delta_fields["tool_calls"] is None
            and delta_fields["refusal"] is None
            and delta_fields["function_call"] is None
            and (not (more := delta.__pydantic_extra__) or not any(more.values()))
            and (response.service_tier is not None or fields["service_tier"] is None)
            and (response.is_openai or not (more := chunk.__pydantic_extra__) or "x_groq" not in more)
        ):
            response.text_room = room
            response.text_pieces.append(text)
            return True
    except Exception:  # not an object of the SDK, or not exactly one choice
        return False
    return False


def add_response_text(response: ResponseState, event: Any) -> bool:
    """Takes the text of an event of a response, if it is a piece of the visible text."""
    try:
        fields = event.__dict__
        if (
            fields["type"] == "response.output_text.delta"
            and (text := fields["delta"])
            and type(text) is str
            and ((index := fields["output_index"]) is response.text_index or response.begin_text(index))
            and (room := response.text_room - len(text)) >= 0
        ):
            response.text_room = room
            response.text_pieces.append(text)
            return True
    except Exception:  # not an object of the SDK, or one without these
        return False
    return False
