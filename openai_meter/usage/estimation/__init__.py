"""Token counts where the API reported none: always marked as estimates, never mixed up with reported ones.

::

    estimate        Estimate: the result
    chars           tokens from the number of characters: the documented rule, and ratios by script
    encodings       tiktoken's vocabularies: found on this machine, loaded in the background
    families        what a model's name determines: family, encoding, images
    request_values  values of a request, read safely
    counter         tokens of texts, in bounded time
    images          tokens of images
    content         the content of messages, and tool calls
    tools           function tools as the model sees them
    schemas         structured output
    prompts         tokens of messages and tools, whichever endpoint they belong to
    chat            the input of a chat completion
    items           the input of a response
    outputs         the output of an answer
    calls           estimate_call: one call, any endpoint

The rules were found in recorded traffic; ``benchmarks/estimate.py`` shows how close they come.
"""

from __future__ import annotations

from openai_meter.usage.estimation.calls import estimate_call
from openai_meter.usage.estimation.chars import estimate_tokens, ratio_tokens
from openai_meter.usage.estimation.estimate import Estimate
from openai_meter.usage.transcript import Output

__all__ = [
    "Estimate",
    "Output",
    "estimate_call",
    "estimate_tokens",
    "ratio_tokens",
]
