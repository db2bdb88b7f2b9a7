"""The bill of one call, line by line: tokens and other units at their prices, fees of tools, and adjustments.

It has every rule. Plain text calls use :class:`rates.Fast`, and tests hold both equal.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from openai_meter.core.money import Amount, simplest
from openai_meter.core.usage import Usage
from openai_meter.pricing.lookup import Books
from openai_meter.pricing.overlay import Fee
from openai_meter.pricing.plan import Plan
from openai_meter.pricing.rates import split
from openai_meter.pricing.types import Billable, CostLine

__all__ = ["AGGREGATES", "DEFAULT_IMAGE_MODEL", "SPECIAL", "Bill", "make_bill"]

DEFAULT_IMAGE_MODEL = "gpt-image-2.6-sunburst"
"""The image tool's model where the request names none (SDK 3.54, ``Tool.ImageGeneration.model``)."""

AGGREGATES = frozenset({"batches", "evals.runs", "agents.sessions", "threads.runs"})
"""Endpoints whose usage is a sum over many requests, of which each is long or is not."""
SPECIAL = AGGREGATES | {"decisions"}
"""Endpoints that do not charge for tokens as all others do. Decisions cost their input alone, at the full rate
(OpenAI's guide to decisions, as genai-prices quotes it for its provider ``openai-decisions``)."""

_DEFAULT_SIZE = "720x1280"


class Bill(NamedTuple):
    """The lines of a call, and the parts that have no price."""

    lines: tuple[CostLine, ...]
    missing: tuple[str, ...]
    """Reasons why a part of the call has no price."""
    estimated: bool
    approximate: bool


class _Writer:
    """Builds a bill."""

    def __init__(self) -> None:
        self.lines: list[CostLine] = []
        self.missing: list[str] = []
        self.estimated = False
        self.approximate = False

    def charge(
        self, plan: Plan, item: str, quantity: Amount, price: Amount, *, unit: str = "token", **more: Any
    ) -> Amount:
        """Adds a line at a price of the plan's list."""
        sheet = plan.sheet
        amount = price * quantity
        self.lines.append(
            CostLine(
                item,
                simplest(amount),
                simplest(quantity),
                unit,
                simplest(price),
                plan.model,
                plan.tier,
                source=more.pop("source", sheet and sheet.source),
                checked=more.pop("checked", sheet and sheet.checked),
                **more,
            )
        )
        self.estimated = self.estimated or more.get("estimated", False)
        return amount

    def fee(self, plan: Plan, item: str, number: int, fee: Fee, *, estimated: bool = False) -> None:
        """Adds a line for the uses of a tool."""
        origin = {"source": fee.origin, "checked": fee.checked}
        self.charge(plan, item, number, simplest(fee.price), unit="call", estimated=estimated, **origin)

    def adjust(self, plan: Plan, amount: Amount) -> None:
        """Adds a line for each factor on what was charged by tokens."""
        for item, factor, source, checked in plan.adjustments:
            more = amount * (factor - 1)
            if more:
                self.lines.append(
                    CostLine(item, simplest(more), factor=factor, model=plan.model, source=source, checked=checked)
                )
            amount += more

    def lack(self, reason: str) -> None:
        if reason not in self.missing:
            self.missing.append(reason)


def make_bill(billable: Billable, plan: Plan, books: Books, side_plan: Callable[[str], Plan]) -> Bill:
    """Makes the bill.

    Args:
        billable: the call; its usage is known.
        plan: how the model of the call is priced.
        books: the price files with the fees of tools.
        side_plan: finds the plan of another model that worked in the same call (image tool, SVG author).
    """
    usage = billable.usage
    assert usage is not None
    writer = _Writer()
    amount = _units(writer, plan, usage, billable)
    if plan.provider in {"openai", "azure"}:
        amount += _searches(writer, plan, usage, billable, books)
    writer.adjust(plan, amount)
    if plan.provider in {"openai", "azure"}:
        _tools(writer, plan, usage, billable, books)
        _side_models(writer, billable, side_plan)
    total = sum(line.amount_pico for line in writer.lines)
    if plan.discount != 1 and (less := total * (plan.discount - 1)):
        writer.lines.append(CostLine("discount", simplest(less), factor=plan.discount, source="the caller"))
    return Bill(
        tuple(writer.lines),
        tuple(writer.missing),
        writer.estimated or usage.inconsistent,
        writer.approximate or usage.inconsistent,
    )


def _units(writer: _Writer, plan: Plan, usage: Usage, billable: Billable) -> Amount:
    """Charges what the model itself counted: tokens, or where it has none, characters, seconds, images, the call."""
    rates = plan.short
    if plan.sheet is None:
        writer.lack(plan.reason or "unknown model")
        return 0
    amount: Amount = 0
    if "call" in rates:
        amount += writer.charge(plan, "call", 1, rates["call"], unit="call")
    if usage.images and "image" in rates:
        amount += writer.charge(plan, "image", usage.images, rates["image"], unit="image")
    if usage.characters and "characters" in rates:
        amount += writer.charge(plan, "characters", usage.characters, rates["characters"], unit="character")
    elif usage.known and ("input" in rates or not usage.seconds):
        amount += _tokens(writer, plan, usage, billable)
    elif usage.seconds:
        amount += _seconds(writer, plan, usage, billable)
    elif not writer.lines:
        writer.lack("usage unknown")
    return amount


def _tokens(writer: _Writer, plan: Plan, usage: Usage, billable: Billable) -> Amount:
    sheet = plan.sheet
    assert sheet is not None
    if usage.input_tokens is None and usage.output_tokens is None:
        writer.lack("usage: input and output unknown")
        return 0
    rates, bracket = plan.short, None
    if sheet.threshold is not None and (usage.input_tokens or 0) > sheet.threshold:
        if billable.endpoint in AGGREGATES:
            writer.estimated = True
        elif plan.long is None:
            writer.lack("long" if plan.tier == "default" else f"long+{plan.tier}")
            return 0
        else:
            rates, bracket = plan.long, "long"
    long_lived = billable.details.get("cache_ttl") == "12h" and not usage.cache_write_12h_tokens
    # Details of the output are optional in an answer with images. Without them the output is images.
    images_out = billable.endpoint.startswith("images.") and "output_image" in rates
    if billable.endpoint == "decisions":
        counts, cut = {"input": usage.input_tokens or 0}, False
    else:
        counts, cut = split(usage, long_lived, images_out)
    writer.approximate = writer.approximate or cut
    amount: Amount = 0
    for slot, number in counts.items():
        if not number:
            continue
        if slot in rates:
            amount += writer.charge(plan, slot, number, rates[slot], bracket=bracket)
        else:
            writer.lack(f"price: {slot}")
    if not amount and not writer.missing and not writer.lines and "input" in rates:
        writer.charge(plan, "input", 0, rates["input"], bracket=bracket)
    return amount


def _seconds(writer: _Writer, plan: Plan, usage: Usage, billable: Billable) -> Amount:
    length = Fraction(Decimal(str(usage.seconds)))
    rates = plan.short
    if any(slot.startswith("second@") for slot in rates):
        size = billable.details.get("size")
        if size is None:
            writer.estimated, size = True, _DEFAULT_SIZE
        slot = f"second@{size}"
        if slot not in rates:
            writer.lack(f"price: size {size}")
            return 0
        return writer.charge(plan, slot, length, rates[slot], unit="second")
    if "second" in rates:
        return writer.charge(plan, "second", length, rates["second"], unit="second")
    if "minute_estimate" in rates:
        rate = rates["minute_estimate"]
        return writer.charge(plan, "minute_estimate", length, rate, unit="second", estimated=True)
    writer.lack("price: second")
    return 0


def _search_fee(plan: Plan, billable: Billable) -> str | None:
    """The name of the fee of a web search, which depends on the tool's type and the kind of model."""
    if (each := plan.facts.get("search_each_call")) is not None:
        return str(each)
    tool = str(billable.details.get("web_search_tool") or "web_search")
    if not tool.startswith("web_search_preview"):
        return "web_search"
    if plan.sheet is None and "reasoning" not in plan.facts:
        return None
    return "web_search_preview" if plan.facts.get("reasoning", True) else "web_search_preview_other"


def _searches(writer: _Writer, plan: Plan, usage: Usage, billable: Billable, books: Books) -> Amount:
    """Charges web searches; returns the part that is tokens at the model's rate."""
    searches = usage.web_searches
    if not searches and "search_each_call" in plan.facts and usage.known:
        searches = 1
    if not searches:
        return 0
    name = _search_fee(plan, billable)
    fee = None if name is None or plan.provider == "azure" else books.fee(name)
    if fee is None or name is None:
        writer.lack(f"price: web search{' on azure' if plan.provider == 'azure' else ''}")
        return 0
    tokens = plan.facts.get("search_tokens", 0) if name == "web_search" else 0
    amount: Amount = 0
    if tokens and "input" in plan.short:
        amount = writer.charge(plan, "web_search_tokens", searches * tokens, plan.short["input"], estimated=True)
    writer.fee(plan, "web_search", searches, fee)
    return amount


def _tools(writer: _Writer, plan: Plan, usage: Usage, billable: Billable, books: Books) -> None:
    """Charges file searches and containers: by the use, whatever the tier."""
    if usage.file_searches:
        if (fee := books.fee("file_search")) is None:
            writer.lack("price: file search")
        else:
            # Azure's meter for file search follows the deployment type (2.75 instead of 2.50 in a data zone).
            writer.fee(plan, "file_search", usage.file_searches, fee._replace(price=fee.price * plan.azure))
    if usage.container_sessions:
        memory = str(billable.details.get("container_memory") or "1g").lower()
        if (fee := books.fee(f"container_{memory}")) is None:
            writer.lack(f"price: container {memory}")
        else:
            # A container may live for several sessions of 20 minutes. Answers do not report that.
            writer.fee(plan, "container", usage.container_sessions, fee, estimated=True)


def _side_models(writer: _Writer, billable: Billable, side_plan: Callable[[str], Plan]) -> None:
    """Charges the tokens of other models: the image tool's, and those that drew an SVG."""
    jobs: list[tuple[str, str, Usage]] = []
    image = billable.details.get("image_usage")
    if isinstance(image, Usage) and image.total_tokens:
        jobs.append((billable.details.get("image_model") or DEFAULT_IMAGE_MODEL, "images.generate", image))
        writer.approximate = writer.approximate or not billable.details.get("image_model")
    if billable.details.get("unreported_images"):
        writer.lack("usage: image tool")  # the image model's tokens are not in the usage of the call's own model
    jobs += [(model, "responses", usage) for model, usage in billable.details.get("svg_usage", ())]
    for model, endpoint, usage in jobs:
        plan = side_plan(model)
        part = _Writer()
        amount = _units(part, plan, usage, Billable(usage, model, endpoint=endpoint))
        part.adjust(plan, amount)
        writer.lines += part.lines
        for reason in part.missing:
            writer.lack(f"{model}: {reason}")
        writer.approximate = writer.approximate or part.approximate or plan.approximate
        writer.estimated = writer.estimated or part.estimated
