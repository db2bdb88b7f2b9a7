"""The quick ways through streams of text: an event is looked at once, in the order of what is likely.

Almost every event brings a piece of text and nothing else. This runs for each on the consumer's path, so it is written
out: asking a model for its ``__dict__`` costs as much as four lookups in it, and a call as much as two. What is not
ordinary is left to the folders of ``answers.py``, which read all there is.
"""

from __future__ import annotations

from typing import Any

from openai_meter.usage.responses import ResponseState, fold_choices, fold_response

__all__ = ["fold_deltas", "fold_text"]


def fold_deltas(response: ResponseState, chunk: Any) -> bool:
    """Reads a chunk of a chat completion: the quick way for those that bring a piece of text and nothing else.

    Says whether it was one of these. What cannot change (model, id, and the tier once it is told) is only looked for
    until it is known; usage is looked for on every chunk.
    """
    try:
        said = chunk.__dict__
        [choice] = said["choices"]
        one = choice.__dict__
        delta, index = one["delta"], one["index"]
        words = delta.__dict__
        text = words["content"]
        if (
            text
            and type(text) is str
            and said["usage"] is None
            and one["finish_reason"] is None
            and (
                index is response.index
                or (response.model is not None and response.response_id is not None and response.turn_to(index))
            )
            and (response.service_tier is not None or said["service_tier"] is None)
            and (left := response.left - len(text)) >= 0
            and not words["tool_calls"]
            and not words["refusal"]
            and words["function_call"] is None
            and (not (more := delta.__pydantic_extra__) or not any(more.values()))
            and (not (beside := chunk.__pydantic_extra__) or "x_groq" not in beside)
        ):
            response.left = left
            response.pieces.append(text)
            return True
    except (AttributeError, KeyError, TypeError, ValueError):  # no object of the SDK's, or not one choice
        pass
    fold_choices(response, chunk)
    return False


def fold_text(response: ResponseState, event: Any) -> None:
    """Reads an event of a response: the quick way for the pieces of its text."""
    try:
        said = event.__dict__
        if (
            said["type"] == "response.output_text.delta"
            and (text := said["delta"])
            and type(text) is str
            and ((index := said["output_index"]) is response.index or response.turn_to(index))
            and (left := response.left - len(text)) >= 0
        ):
            response.left = left
            response.pieces.append(text)
            return
    except (AttributeError, KeyError):  # no object of the SDK's, or one without these
        pass
    fold_response(response, event)
