"""Tokens of messages and tools in a prompt, whichever endpoint it is for."""

from __future__ import annotations

from openai_meter.usage.estimation.content import arguments_of
from openai_meter.usage.estimation.counter import Counter
from openai_meter.usage.estimation.families import Traits
from openai_meter.usage.estimation.request_values import fields, text_of
from openai_meter.usage.estimation.tools import Function, render

__all__ = ["call_tokens", "choice_tokens", "message_tokens", "primer", "result_tokens", "tools_text"]


def primer(model: Traits) -> int:
    """Tokens before the answer."""
    return model.primer


def message_tokens(model: Traits, role: object) -> int:
    """The frame of a message with text, its role included."""
    return 4 + model.extra + (2 if model.heavy and role == "assistant" else 0)


def call_tokens(name: str, arguments: object, model: Traits, counter: Counter) -> int:
    """One tool call of the history, with its frame."""
    return 10 + (6 if model.heavy else 0) + counter.tok(name) + counter.tok(arguments_of(arguments))


def result_tokens(content: int, name: str, counter: Counter) -> int:
    """The result of one tool call; the function's name takes the place of the role."""
    return 3 + content + counter.tok(name)


def tools_text(functions: list[Function], model: Traits) -> str:
    """The functions as the model gets them."""
    return render(functions, strip=model.family == "L", old=model.old)


def choice_tokens(choice: object, model: Traits, counter: Counter, *, required: int) -> int:
    """What ``tool_choice`` adds; ``required`` is what the value "required" adds."""
    if model.family != "L":
        return 0
    if isinstance(choice, str):
        return {"none": 1, "required": required}.get(choice, 0)
    choice_fields = fields(choice)
    name = text_of(choice_fields.get("name")) or text_of(fields(choice_fields.get("function")).get("name"))
    return 7 + counter.tok(name) if name else 0
