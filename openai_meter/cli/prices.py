"""What the commands do that answer a question: ``prices``, ``explain`` and ``estimate``.

Exit codes: 1 where there is no answer, 2 where the question cannot be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from openai_meter.core.locale import language

if TYPE_CHECKING:
    from openai_meter.pricing import Billable
    from openai_meter.pricing.quotes import Quote

__all__ = ["Asked", "estimate", "explain", "give_up", "prices"]


class Asked(NamedTuple):
    """What the command line says of a call that is to be explained."""

    model: str | None
    endpoint: str
    tier: str | None
    batch: bool
    at: str | None
    host: str


def prices(model: str | None, *, as_json: bool, lang: str | None) -> None:
    """Writes prices; of ``update``, those that the newest catalog changes. Exit code 1: there are none."""
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not for `run`
    from openai_meter.reports import bills  # noqa: PLC0415

    book = PriceBook()
    if model == "update":
        before = {(rate.model, rate.tier, rate.bracket): rate.prices for rate in book.current()}
        try:
            book.update()
        except Exception as error:
            give_up(language(lang)("cli.not_fetched", error=error), 1)
        rates = [rate for rate in book.current() if before.get((rate.model, rate.tier, rate.bracket)) != rate.prices]
    else:
        rates = list(book.current(model))
        if not rates:
            give_up(language(lang)("cli.no_price", model=repr(model)), 1)
    if as_json:
        json.dump(bills.rate_values(rates), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        bills.print_rates(rates, lang=lang)


def explain(asked: Asked, *, as_json: bool, lang: str | None) -> None:
    """Writes the bill of the call on standard input. Exit code 1: its cost is unknown."""
    from openai_meter.pricing import PriceBook  # noqa: PLC0415 - not for `run`
    from openai_meter.reports import bills  # noqa: PLC0415

    book = PriceBook()
    billable = _billable(asked)
    cost, lines = book.cost(billable), book.lines(billable)
    if as_json:
        json.dump(bills.bill_values(cost, lines), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        bills.print_bill(cost, lines, lang=lang)
    if cost.amount_pico is None:
        raise SystemExit(1)


def _billable(asked: Asked) -> Billable:
    """What is to be explained, from the command line and standard input."""
    from openai_meter.pricing import Billable  # noqa: PLC0415
    from openai_meter.usage.billing_details import answer_facts  # noqa: PLC0415
    from openai_meter.usage.responses import ResponseState, read_object, read_response  # noqa: PLC0415 - not for `run`

    try:
        said = json.load(sys.stdin)
        at = None if asked.at is None else datetime.fromisoformat(asked.at)
    except ValueError as error:
        give_up(f"standard input or --at cannot be read: {error}", 2)
    if not isinstance(said, dict):
        give_up("standard input has to be one JSON object: a usage object, or an answer with one", 2)
    answer = said if isinstance(said.get("usage"), dict) else {"usage": said}
    is_response = answer.get("object") == "response"
    reading = ResponseState()
    (read_response if is_response else read_object)(reading, answer)
    usage = reading.total()
    model = asked.model or reading.model
    if usage is None or model is None:
        what = "no usage in it" if usage is None else "no model in it: name it with --model"
        give_up(f"standard input has {what}", 2)
    return Billable(
        usage,
        model,
        endpoint=asked.endpoint or ("responses" if is_response else "chat.completions"),
        provider="openai" if asked.host.endswith("openai.com") else asked.host,
        host=asked.host,
        service_tier=asked.tier or reading.service_tier,
        at=at,
        batch=asked.batch,
        details=answer_facts(answer),
    )


def estimate(file: str, model: str | None, endpoint: str | None, *, request: bool, as_json: bool) -> None:
    """Writes the estimate of a text or a request. Exit code 1: its tokens are unknown."""
    from openai_meter.pricing import quotes  # noqa: PLC0415 - not for `run`

    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode("utf-8-sig")
        what = json.loads(text) if request or endpoint is not None else text
        quote = quotes.estimate(what, model=model, endpoint=endpoint)
    except OSError as error:
        give_up(f"{file} cannot be read: {error.strerror or error}", 2)
    except UnicodeDecodeError:
        give_up(f"{file} is no text in UTF-8", 2)
    except (ValueError, RecursionError) as error:
        give_up(f"{file}: {error}", 2)
    if quote.estimate.source == "chars":
        sys.stderr.write(_NO_VOCABULARY)
    if as_json:
        json.dump(quote.to_dict(), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        sys.stdout.write("\n".join(_quote_lines(quote)) + "\n")
    if quote.tokens is None:
        raise SystemExit(1)


_NO_VOCABULARY = (
    "openai-meter: counted by characters, which is rough: the vocabulary is not on this machine; "
    'pip install "openai-meter[offline]" brings it\n'
)


def _quote_lines(quote: Quote) -> Iterator[str]:
    about = "at least " * quote.estimate.lower_bound + "about " * (quote.estimate.source == "chars")
    counted = "unknown" if quote.tokens is None else f"{about}{quote.tokens:,}"
    yield f"input tokens: {counted}"
    if quote.cost is not None:
        yield f"input cost: {about}${quote.cost:f} ({quote.model})"
    elif quote.model is None:
        yield "input cost: unknown; name the model with --model"
    else:
        yield f"input cost: unknown ({quote.price.reason})"
    if quote.estimate.unknown:
        yield f"not counted: {', '.join(quote.estimate.unknown)}"
    if quote.estimate.sampled:
        yield "the text is long: it was sampled"


def give_up(why: str, code: int) -> NoReturn:
    """Ends the program with a sentence that says why."""
    sys.stderr.write(f"openai-meter: {why}\n")
    raise SystemExit(code)
