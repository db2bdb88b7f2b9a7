"""Counts the tokens of texts, in bounded time: what is too large is sampled."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING

from openai_meter.usage.estimation import chars
from openai_meter.usage.estimation.chars import estimate_tokens, ratio_tokens

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = ["Counter"]

_EXACT = 120_000
"""Characters that are counted one by one for one call (about 10 ms); beyond, a text is sampled."""
_RUN = 200
# Until 0.12 tiktoken takes time with the square of a piece's length: minutes for 100,000 emoji in a row.
_LONG_RUN = re.compile(rf"\S{{{_RUN}}}|\s{{{_RUN}}}")
_SLICES = 48
_SLICE = 512


class Counter:
    """Counts for one call: with an encoding, or from the number of characters. Not thread-safe.

    Attributes:
        rule: the vocabulary, or the rule for characters (:data:`openai_meter.usage.estimation.chars.RULES`).
        unknown: names of what could not be counted.
        sampled: whether a text was too large to be counted whole.
    """

    __slots__ = ("_characters", "_encode", "_left", "_tokens", "name", "rule", "sampled", "unknown")

    def __init__(self, encoding: Encoding | None, name: str) -> None:
        self.name = name
        self._encode = None if encoding is None else encoding.encode_ordinary
        self.rule = chars.rule() if encoding is None else name
        self._left = _EXACT
        self._characters = 0
        self._tokens = 0
        self.unknown: set[str] = set()
        self.sampled = False

    def tok(self, text: str) -> int:
        """The number of tokens of a text; an empty one has none."""
        if not text:
            return 0
        if self._encode is None:
            return estimate_tokens(text) if self.rule == "plain" else ratio_tokens(text, self.name)
        length = len(text)
        if length <= self._left:
            return self._exactly(text)
        self.sampled = True
        if length > 4 * _SLICE and self._left > -4 * _SLICES * _SLICE:
            step = length / _SLICES
            slices = [text[int(n * step) : int(n * step) + _SLICE] for n in range(_SLICES)]
            return round(length * sum(map(self._exactly, slices)) / sum(map(len, slices)))
        # A text that is too short for samples, or beyond the limit, is assumed to be like the counted part.
        return round(length * self._tokens / self._characters) if self._characters else ratio_tokens(text, self.name)

    def _exactly(self, text: str) -> int:
        assert self._encode is not None
        try:
            if _quadratic() and _LONG_RUN.search(text):
                tokens = sum(len(self._encode(text[at : at + _RUN])) for at in range(0, len(text), _RUN))
            else:
                tokens = len(self._encode(text))
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except (
            BaseException
        ):  # a panic of tiktoken's Rust, which is not an Exception, on texts that older versions cannot handle
            tokens = ratio_tokens(text, self.name)
        self._left -= len(text)
        self._characters += len(text)
        self._tokens += tokens
        return tokens


@lru_cache(maxsize=1)
def _quadratic() -> bool:
    """Whether long runs of characters are slow in the tiktoken of this process; in one of unknown version they are."""
    version = str(getattr(sys.modules.get("tiktoken"), "__version__", ""))
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is None or (int(found[1]), int(found[2])) < (0, 13)
