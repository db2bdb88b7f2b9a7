"""The facts of a request that advice uses: counts, settings and salted keys, never text."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Evidence"]


class Evidence(NamedTuple):
    """The facts of a request that advice is based on. Holds no text; valid only in the process that made it."""

    prompt_key: int | None
    """Equal for requests with the same input; ``None`` if the input cannot be compared."""
    prefix_key: int | None
    """Equal for requests that begin with the same text: the instructions, else the first message."""
    prefix_chars: int = 0
    """The length of that beginning in characters."""
    chars: int = 0
    """The length of all text of the input in characters; of long histories, about."""
    messages: int = 0
    """Messages or items of the input; instructions count as one."""
    sampled: bool = False
    """Whether the input was too long to be compared whole: equal keys then are very likely, not certainly, the same."""
    cache_key_set: bool = False
    max_tokens_set: bool = False
    """Whether the request limits the length of its answer."""
    service_tier: str | None = None
    """The tier in the request."""
    retention: str | None = None
    """How long the prompt cache shall keep the input: ``24h``, ``in_memory``, or a ``ttl`` such as ``12h``."""
    sections: bytes = b""
    """The parts of the input (``sections.py``); collected where a ledger takes the calls."""
