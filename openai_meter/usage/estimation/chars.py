"""Token counts from the number of characters: the documented rule, and a closer one without a vocabulary."""

from __future__ import annotations

import re
from bisect import bisect_right

from openai_meter.errors import ConfigurationError

__all__ = ["RULES", "checked_rule", "estimate_tokens", "ratio_tokens", "rule", "set_rule"]

RULES = ("script", "plain")
"""The rules for a count by characters: ``script`` (:func:`ratio_tokens`) and ``plain`` (:func:`estimate_tokens`)."""
_rule = ["script"]


def rule() -> str:
    """The rule by which tokens are counted where no vocabulary is on this machine."""
    return _rule[0]


def set_rule(name: str) -> None:
    """Sets that rule for the process.

    Raises:
        ConfigurationError: there is no such rule.
    """
    _rule[0] = checked_rule(name)


def checked_rule(name: str) -> str:
    """The name of a rule.

    Raises:
        ConfigurationError: there is no such rule.
    """
    if name not in RULES:
        raise ConfigurationError(f"char_rule={name!r} is not a rule; give one of {', '.join(map(repr, RULES))}")
    return name


_FRENCH = re.compile("[àâäéèêëïîôùûüÿæœç]", re.IGNORECASE)


def estimate_tokens(text: str) -> int:
    """A rough number of tokens of a text: a token for every 3 characters of French, for every 4 of anything else.

    A text with one of the letters ``àâäéèêëïîôùûüÿæœç``, small or capital, is French. The number is rounded up; an
    empty text has 0 tokens. Needs no vocabulary. Thread-safe.

    Raises:
        ConfigurationError: ``text`` is not a string.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"estimate_tokens() was given a {type(text).__name__}; give it the text as a str")
    per = 3 if not text.isascii() and _FRENCH.search(text) else 4
    return -(-len(text) // per)


# Characters per token by script: the first code point, then the ratio in o200k_base and in cl100k_base. A script ends
# where the next one begins. The figures are those of mixed texts (interfaces, answers of models), not of pure prose.
_SCRIPTS: tuple[tuple[int, float, float], ...] = (
    (0x0000, 4.0, 4.0),  # Latin
    (0x0370, 2.5, 1.25),  # Greek
    (0x0400, 3.3, 2.3),  # Cyrillic
    (0x0530, 2.0, 0.9),  # Armenian
    (0x0590, 2.1, 1.3),  # Hebrew
    (0x0600, 2.8, 1.6),  # Arabic
    (0x0900, 2.6, 1.1),  # the scripts of India
    (0x0E00, 2.4, 1.4),  # Thai and Lao
    (0x1000, 2.0, 0.7),  # Burmese, Georgian, Ethiopic, Khmer, ...
    (0x1E00, 4.0, 4.0),  # more Latin, punctuation, symbols
    (0x3000, 1.25, 1.0),  # CJK punctuation
    (0x3040, 1.35, 1.1),  # kana
    (0x3100, 1.25, 0.95),  # CJK
    (0xAC00, 1.6, 1.15),  # Hangul
    (0xD800, 1.0, 0.5),  # lone surrogates, private use
    (0xF900, 1.25, 0.95),  # CJK and other forms
    (0x10000, 0.6, 0.4),  # emoji and rare scripts
)
_STARTS = tuple(start for start, _, _ in _SCRIPTS)
_COSTS = {
    "o200k_base": tuple(1 / ratio for _, ratio, _ in _SCRIPTS),
    "cl100k_base": tuple(1 / ratio for _, _, ratio in _SCRIPTS),
}
_ACCENTED = {"o200k_base": 3.8, "cl100k_base": 3.5}
_SAMPLE = 64


def ratio_tokens(text: str, encoding_name: str) -> int:
    """A rough number of tokens of a text in an encoding, by the scripts that it is written in. Never raises.

    Latin text is counted as by :func:`estimate_tokens`, but French and German at what was measured. Of a text with
    more than a quarter of an additional UTF-8 byte a character, 64 characters spread over it are sampled.
    """
    length = len(text)
    if text.isascii():
        return -(-length // 4)
    step = max(length // 4096, 1)  # a sample is enough to find the script of a long text
    sample = text[::step]
    if len(sample.encode("utf-8", "surrogatepass")) <= 1.25 * len(sample):
        if not _FRENCH.search(sample):
            return -(-length // 4)
        return int(length / _ACCENTED.get(encoding_name, 3.8)) + 1
    costs = _COSTS.get(encoding_name, _COSTS["o200k_base"])
    characters = text[:: max(length // _SAMPLE, 1)]
    cost = sum(costs[bisect_right(_STARTS, ord(character)) - 1] for character in characters)
    return max(round(cost / len(characters) * length), 1)
