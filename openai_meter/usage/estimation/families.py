"""What a model's name determines about counting its tokens: its family, encoding, and the rule for images.

The figures were found in recorded traffic. To add a model, add a row to the table that it belongs
in; the first row that matches counts.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

__all__ = ["Family", "Patches", "Tiles", "Traits", "traits"]

Family = Literal["L", "O", "H"]
"""``L``: models without reasoning, up to gpt-4.1, and gpt-5-chat. ``O``: o1, o3, o4. ``H``: gpt-5 and later."""


class Tiles(NamedTuple):
    """Images cost a base, and so much for each tile of 512 x 512 pixels."""

    base: int
    tile: int


class Patches(NamedTuple):
    """Images cost so much for each patch of 32 x 32 pixels."""

    factor: float


class Traits(NamedTuple):
    """How the tokens of a model are counted."""

    family: Family
    encoding: str
    images: Tiles | Patches
    reasons: bool
    """Whether the model reasons if the request sets no effort."""
    old: bool
    """Whether it is gpt-4 of 2023: it is shown tools without titles and defaults, and some frames differ by one."""
    extra: int
    """Tokens that each message costs more than in other models."""
    primer: int
    """Tokens before the answer."""
    ending: int
    """Tokens after the text of a response, beyond those that models of its family have in common."""

    @property
    def heavy(self) -> bool:
        """Whether it is of family H."""
        return self.family == "H"


_FAMILIES: tuple[tuple[re.Pattern[str], Family], ...] = (
    (re.compile(r"gpt-35|gpt-5(\.\d+)?-chat"), "L"),  # gpt-35: Azure's name of gpt-3.5
    (re.compile(r"gpt-([5-9]|\d\d)|codex-mini"), "H"),
    (re.compile(r"o\d"), "O"),
)
_CL100K = re.compile(
    r"gpt-3\.?5|gpt-4$|gpt-4-|text-embedding|babbage-|davinci-002|text-davinci|davinci|curie|babbage|ada"
)
_IMAGES: tuple[tuple[re.Pattern[str], Tiles | Patches], ...] = (
    (re.compile(r"gpt-4\.1-mini"), Patches(1.62)),
    (re.compile(r"gpt-4\.1-nano"), Patches(2.46)),
    (re.compile(r"o4-mini"), Patches(1.72)),
    (re.compile(r"gpt-5-mini"), Patches(1.2)),
    (re.compile(r"gpt-5-nano"), Patches(1.5)),
    (re.compile(r"gpt-5(-|$)|gpt-5\.[01]"), Tiles(70, 140)),
    (re.compile(r"gpt-([5-9]|\d\d)"), Patches(1.2)),
    (re.compile(r"gpt-4o-mini"), Tiles(2833, 5667)),
    (re.compile(r"o[13]"), Tiles(75, 150)),
    (re.compile(r"computer-use"), Tiles(65, 129)),
)
_USUAL_IMAGES = Tiles(85, 170)
# From gpt-5.1 on, a request has to ask for reasoning.
_REASONS_IF_ASKED = re.compile(r"gpt-5\.[1-9]")


def traits(model: str | None) -> Traits:
    """How a model counts. An unknown name counts as family L with o200k_base.

    The name may be a fine-tuned model's (``ft:gpt-4o-mini:...``), Azure's (``gpt-35-turbo``) or a host's
    (``openai/gpt-4o``). Thread-safe.
    """
    return _traits(model) if isinstance(model, str) else _traits("")


@lru_cache(maxsize=512)
def _traits(model: str) -> Traits:
    name = _base(model)
    family: Family = next((family for pattern, family in _FAMILIES if pattern.match(name)), "L")
    return Traits(
        family,
        "cl100k_base" if _CL100K.match(name) else "o200k_base",
        next((rule for pattern, rule in _IMAGES if pattern.match(name)), _USUAL_IMAGES),
        family != "L" and not _REASONS_IF_ASKED.match(name),
        name in {"gpt-4", "gpt-4-0613", "gpt-4-32k", "gpt-4-32k-0613"},
        1 if name == "gpt-3.5-turbo-0301" else 0,
        3 if family == "L" and not name.startswith("gpt-5.2-chat") else 2,
        6 if family == "O" and not name.startswith("o3-mini") else 0,
    )


def _base(model: str) -> str:
    """The name of OpenAI's model in a name."""
    name = model.strip().lower()[:256].removeprefix("ft:")
    return name.partition(":")[0].rpartition("/")[2]
