"""Quick ways through streams of text: each field of an event is read once, in the order of what is likely.

Almost every event has a piece of text and nothing else. This runs for each event on the consumer's path, so it is
written out: reading ``__dict__`` of a model costs as much as four lookups in it, and a function call as much as two.
All other events go to the folders of ``stream_events.py``, which read everything.
"""

from __future__ import annotations

from typing import Any

from openai_meter.usage.responses import ResponseState
from openai_meter.usage.stream_events import fold_choices, fold_response

__all__ = ["fold_deltas", "fold_text"]


def fold_deltas(response: ResponseState, chunk: Any) -> bool:
    """Reads a chunk of a chat completion: the quick way for those that have a piece of text and nothing else.

    Returns whether it was one of these. Constant fields (model, id, and the tier once it is known) are read only
    until they are known; usage is read on every chunk.
    """
    try:
        fields = chunk.__dict__
        [choice] = fields["choices"]
        choice_fields = choice.__dict__
        delta, index = choice_fields["delta"], choice_fields["index"]
        delta_fields = delta.__dict__
        text = delta_fields["content"]
        if (
            text
            and type(text) is str
            and fields["usage"] is None
            and choice_fields["finish_reason"] is None
            and (
                index is response.text_index
                or (response.model is not None and response.response_id is not None and response.begin_text(index))
            )
            and (response.service_tier is not None or fields["service_tier"] is None)
            and (room := response.text_room - len(text)) >= 0
            and not delta_fields["tool_calls"]
            and not delta_fields["refusal"]
            and delta_fields["function_call"] is None
            and (not (more := delta.__pydantic_extra__) or not any(more.values()))
            and (not (extra := chunk.__pydantic_extra__) or "x_groq" not in extra)
        ):
            response.text_room = room
            response.text_pieces.append(text)
            return True
    except (AttributeError, KeyError, TypeError, ValueError):  # not an object of the SDK, or not exactly one choice
        pass
    fold_choices(response, chunk)
    return False


def fold_text(response: ResponseState, event: Any) -> None:
    """Reads an event of a response: the quick way for pieces of its text."""
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
            return
    except (AttributeError, KeyError):  # not an object of the SDK, or one without these
        pass
    fold_response(response, event)
