"""Token counts where the API has told none: always marked, never taken for measured ones.

::

    values     Estimate: what an estimate says
    chars      from the number of characters: the promised rule, and ratios by script
    families   what a model's name says: family, encoding, images
    reading    odd requests, read safely
    counter    tokens of texts, in bounded time
    images     what images cost
    content    the content of messages, and tool calls
    tools      function tools as the model sees them
    schemas    structured output
    prompts    what messages and tools cost
    chat       the input of a chat completion
    items      the input of a response
    outputs    what was said
    calls      estimate_call: one call, any endpoint
    api        estimate: what a text or a request would cost, for callers

Beside it stand ``vocabulary.py`` (finds tiktoken's vocabularies) and ``spoken.py`` (what was said). The rules were
found in recorded traffic; ``benchmarks/estimate.py`` shows how close they come.
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
