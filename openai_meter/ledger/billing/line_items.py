"""The names of the lines of a bill: ``gpt-4o-2024-08-06, cached input``, ``priority | gpt-5.6-sol, output``.

The costs API documents no grammar for its line items. The forms that are read here were seen in answers of the API and
in the docstrings of the SDK (``gpt-6-astra, input_tokens``). What is not recognized keeps its name and is compared in
dollars only.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from openai_meter.pricing.types import TIERS

__all__ = ["FEES", "OTHER", "STORAGE", "LineItem", "base_units", "line_item_name", "parse_line_item"]

STORAGE = "storage"
TRAINING = "training"
OTHER = "other"
"""The slot of a line that is not recognized."""
FEES = frozenset({"web_search", "file_search", "container"})
"""The slots that are fees of tools: they have no model."""


class LineItem(NamedTuple):
    """What the name of a line stands for."""

    name: str
    model: str | None
    slot: str
    """A slot of a price list (``input``, ``cached_input``, ...), a fee, ``storage``, ``training``, or ``other``."""
    tier: str | None = None
    """The tier that the name states; ``None`` if it states none."""
    bracket: str | None = None
    """``long``, if the name states it."""


_TIER_WORDS = {"batch": "batch", "flex": "flex", "priority": "priority", "fast": "priority", "ultrafast": "ultrafast"}
_WITHOUT_MODEL = (
    (re.compile(r"\b(vector|file|container|data)?[ _]*(store[sd]?|storage)\b"), STORAGE),
    (re.compile(r"\bweb[ _]?search"), "web_search"),
    (re.compile(r"\bfile[ _]?search"), "file_search"),
    (re.compile(r"\bcode[ _]?interpreter|\bcontainers?\b|\bshell\b"), "container"),
    (re.compile(r"\btrain(ing|ed)\b|\bfine[- ]?tuning\b"), TRAINING),
)
"""Lines that are not charged by a model's price list; tried in this order."""
_UNITS = {
    "images": ("image", Fraction(1)),
    "characters": ("characters", Fraction(1)),
    "duration_seconds": ("second", Fraction(1)),
    "duration_minutes": ("second", Fraction(60)),
    "duration_hours": ("second", Fraction(3600)),
    "gibibyte_hours": (STORAGE, Fraction(1)),
    "1000_tokens": (None, Fraction(1000)),
}
"""The slot that a unit of the costs API stands for, and how many of our units one of it is."""


def base_units(quantity: Fraction, unit: str | None) -> Fraction:
    """A quantity in the units of price lists: tokens, seconds, images, characters, calls."""
    return quantity * _UNITS.get(unit or "", (None, Fraction(1)))[1]


@lru_cache(4_096)
def parse_line_item(name: str, unit: str | None = None) -> LineItem:
    """Reads the name of a line.

    Args:
        name: the ``line_item`` of the costs API.
        unit: its ``quantity_unit``, which helps where the name states no kind.
    """
    *surfaces, rest = (part.strip() for part in name.split("|"))
    tier = next((found for part in surfaces if (found := _tier(part)) is not None), None)
    head, *kinds = (part.strip() for part in rest.split(","))
    words = " ".join(kinds).lower()
    for pattern, slot in _WITHOUT_MODEL:
        if pattern.search(words) or (not kinds and pattern.search(head.lower())):
            return LineItem(name, None if slot in FEES or not kinds else _model(head), slot)
    head, inner = _take_words(head)
    words = f"{inner} {words}".replace("_", " ")
    for word in re.findall(r"[a-z]+", words):
        tier = tier or _TIER_WORDS.get(word)
    slot = _token_slot(words) or _UNITS.get(unit or "", (None, None))[0] or OTHER
    if slot == STORAGE:
        return LineItem(name, None, STORAGE)
    bracket = "long" if re.search(r"\blong\b", words) else None
    return LineItem(name, _model(head), slot, tier, bracket)


def _tier(word: str) -> str | None:
    """The tier that a word before ``|`` names; other words there are surfaces (``evals``, ``assistants api``)."""
    found = word.lower().removesuffix(" api")
    return TIERS.get(found) if found else None


def _model(head: str) -> str | None:
    """The model of a line. Fine-tuned models were seen with a hyphen: ``ft-gpt-4o-2024-08-06``."""
    name = head.strip()
    return f"ft:{name[3:]}" if name.startswith("ft-") else name or None


_TAIL = re.compile(r"\s+\(?(text|audio|image|batch|flex|priority|fast|ultrafast|long context|long)\)?$", re.IGNORECASE)


def _take_words(head: str) -> tuple[str, str]:
    """The model and the words behind it: ``gpt-image-2.5-flare image`` is the model and ``image``."""
    words: list[str] = []
    while (found := _TAIL.search(head)) is not None:
        words.insert(0, found[1].lower())
        head = head[: found.start()]
    return head, " ".join(words)


def _token_slot(words: str) -> str | None:
    modality = next((word for word in ("audio", "image") if re.search(rf"\b{word}\b", words)), None)
    if re.search(r"\bcache\w*\s+(input\s+)?writ|\bwrit\w*\s+(to\s+)?cache|\bcache creation", words):
        return "cache_write_12h" if re.search(r"\b12\s*-?\s*h", words) else "cache_write"
    if re.search(r"\bcached?\b", words):
        return f"cached_{modality}" if modality else "cached_input"
    for side in ("input", "output"):
        if re.search(rf"\b{side}\b", words):
            return f"{side}_{modality}" if modality else side
    for word, slot in (
        ("image", "image"),
        ("images", "image"),
        ("characters", "characters"),
        ("character", "characters"),
    ):
        if re.search(rf"\b{word}\b", words):
            return slot
    if re.search(r"\b(seconds?|minutes?|duration|hours?)\b", words):
        return "second"
    return None


_KINDS = {"cached_input": "cached input", "cache_write": "cache writes", "cache_write_12h": "cache writes 12h"}
_FEE_NAMES = {
    "web_search": "web search tool calls",
    "file_search": "file search tool calls",
    "container": "code interpreter sessions",
}


def line_item_name(model: str | None, slot: str, tier: str = "default", bracket: str | None = None) -> str:
    """The name that a line of these would have; for what the ledger has and the bill does not."""
    if slot in _FEE_NAMES:
        return _FEE_NAMES[slot]
    before, kind = "", _KINDS.get(slot)
    if kind is None:
        side, _, modality = slot.partition("_")
        kind = f"cached {modality} input" if side == "cached" else slot.replace("_", " ")
        before, kind = (f" {modality}", side) if modality and side in {"input", "output"} else (before, kind)
    parts = [f"{model or 'unknown model'}{before}", kind, *(["long context"] if bracket else [])]
    return f"{'' if tier == 'default' else f'{tier} | '}{', '.join(parts)}"
