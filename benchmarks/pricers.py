"""The libraries that price a call, each by its own way in: what ``pricing.py`` holds side by side.

Of a worked case, a library is told all that it has a place for: the API's answer, and with it the tier, the time, the
region, that it was a batch. ``python pricers.py NAME`` answers questions, a line of JSON each: it runs where that
library is installed.
"""

# ruff: noqa: PLC0415 - each library is imported where it is installed

from __future__ import annotations

import json
import os
import subprocess
import sys
import timeit
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from importlib import util
from importlib.metadata import version
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from environments import InstallationError, python_for, versions

Case = dict[str, Any]
"""A worked case: ``usage`` as the API tells it, ``model``, ``endpoint``, ``service_tier``, ``context``."""
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
USAGE = {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500}


class Begun(NamedTuple):
    """A library at work."""

    ways: dict[str, Callable[[], object]]
    """What is timed."""
    cost: Callable[[Case], Any]
    """The dollars that a worked case costs."""


class Pricer(NamedTuple):
    """A library; to add one, write its ``begin`` and a row of ``PRICERS``."""

    package: str
    least: str
    """The least version, as an installer may settle for an older one, whose prices are old too."""
    module: str
    begin: Callable[[], Begun]


def answer_of(case: Case) -> dict[str, Any]:
    """The API's answer in a worked case."""
    context = case.get("context") or {}
    chat = "chat" in case["endpoint"]
    kind = "chat.completion" if chat else "list" if case["endpoint"] == "embeddings" else "response"
    answer = {"id": "x", "object": kind, "created": 1, "created_at": 1, "model": case["model"], "usage": case["usage"]}
    more = {key: context[key] for key in ("tools", "tool_usage", "background") if key in context}
    return {**answer, "service_tier": case["service_tier"], "output": case.get("output_items") or [], **more}


def time_of(case: Case) -> datetime:
    return datetime.fromisoformat((case.get("context") or {}).get("timestamp", AT.isoformat()))


def tier_of(case: Case) -> str | None:
    """The tier, unless it is the usual one."""
    return None if case["service_tier"] == "default" else case["service_tier"]


def is_batch(case: Case) -> bool:
    return bool((case.get("context") or {}).get("batch"))


def openai_meter() -> Begun:
    from openai_meter.core.usage import Usage
    from openai_meter.pricing import Billable, PriceBook
    from openai_meter.usage.billing_details import answer_facts, completion_window, request_facts
    from openai_meter.usage.responses import ResponseState, read_response

    book, plain = PriceBook(), Usage(1200, 300, 1500)
    cached = Usage(20_000, 800, 20_800, cached_input_tokens=4096, cache_write_tokens=12_288)
    searched = Billable(Usage(18_500, 900, 19_400, web_searches=2), "gpt-5.4", at=AT, host="api.openai.com")

    answer = {"id": "x", "object": "chat.completion", "model": "gpt-5.4-mini", "usage": USAGE}

    def read() -> object:
        read_response(reading := ResponseState(), answer)
        return book.cost_of(reading.total(), "gpt-5.4-mini", "openai", "api.openai.com", "default", AT)

    def cost(case: Case) -> Any:
        context, answer = case.get("context") or {}, answer_of(case)
        read_response(reading := ResponseState(), answer)
        usage = reading.total()
        if seconds := case["usage"].get("seconds"):
            usage = Usage(seconds=float(seconds))
        host = urlsplit(context.get("base_url", "https://api.openai.com")).hostname
        return book.cost(
            Billable(
                usage, case["model"], None, case["endpoint"], "openai", host, case["service_tier"], time_of(case),
                is_batch(case), completion_window(context), {**request_facts(context), **answer_facts(answer)},
            )
        ).usd  # fmt: skip

    ways = {
        "cost_of, plain text": lambda: book.cost_of(plain, "gpt-5.4-mini", "openai", "api.openai.com", "default", AT),
        "cost_of, cached": lambda: book.cost_of(cached, "gpt-6-sol", "openai", "api.openai.com", "default", AT),
        "answer read, and cost_of, plain text": read,
        "cost, two web searches": lambda: book.cost(searched),
        "lines (the bill), two web searches": lambda: book.lines(searched),
    }
    return Begun(ways, cost)


def genai_prices() -> Begun:
    from genai_prices import Usage, calc_price, extract_usage

    plain = Usage(input_tokens=1200, output_tokens=300)

    flavors = {"chat.completions": "chat", "responses": "responses", "embeddings": "embeddings"}

    def cost(case: Case) -> Any:
        endpoint = case["endpoint"].rpartition("/v1/")[2].replace("/", ".")
        if seconds := case["usage"].get("seconds"):
            usage = Usage(audio_seconds=seconds)
        else:
            usage = extract_usage(answer_of(case), provider_id="openai", api_flavor=flavors[endpoint]).usage
        if searches := answer_of(case).get("tool_usage", {}).get("web_search", {}).get("num_requests"):
            usage.web_searches = searches  # it does not find them, but has a price for them
        context = {"processing": "batch"} if is_batch(case) else {"service_tier": tier_of(case) or "default"}
        return calc_price(
            usage, case["model"], provider_id="openai", genai_request_timestamp=time_of(case), price_context=context
        ).total_price

    def calc() -> object:
        return calc_price(plain, "gpt-5.4-mini", provider_id="openai", genai_request_timestamp=AT)

    return Begun({"calc_price, plain text": calc}, cost)


def litellm() -> Begun:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # the prices that it comes with, and no network
    import litellm
    from litellm.cost_calculator import batch_cost_calculator
    from litellm.types.llms.openai import ResponsesAPIResponse

    shapes = {
        "chat.completions": ("completion", litellm.ModelResponse),
        "responses": ("responses", ResponsesAPIResponse),
        "embeddings": ("embedding", litellm.EmbeddingResponse),
    }

    def cost(case: Case) -> Any:
        if is_batch(case):
            return sum(batch_cost_calculator(litellm.Usage(**case["usage"]), case["model"], "openai"))
        if seconds := case["usage"].get("seconds"):
            kind: Any = "transcription"
            parts = litellm.cost_per_token(case["model"], call_type=kind, audio_transcription_file_duration=seconds)
            return sum(parts)
        kind, shape = shapes[case["endpoint"]]
        european = "//eu." in (case.get("context") or {}).get("base_url", "")
        return litellm.completion_cost(
            shape(**answer_of(case)), case["model"], call_type=kind, custom_llm_provider="openai",
            service_tier=tier_of(case), data_residency="eu" if european else None,
        )  # fmt: skip

    answer = litellm.ModelResponse(id="x", object="chat.completion", created=1, model="gpt-5.4-mini", usage=USAGE)
    ways = {
        "cost_per_token, plain text": lambda: litellm.cost_per_token("gpt-5.4-mini", 1200, 300),
        "completion_cost, plain text": lambda: litellm.completion_cost(answer),
    }
    return Begun(ways, cost)


def openai_cost_calculator() -> Begun:
    from openai_cost_calculator import estimate_response_cost

    def cost(case: Case) -> Any:
        tier = "batch" if is_batch(case) else tier_of(case)
        return estimate_response_cost(answer_of(case), provider="openai", service_tier=tier, at=time_of(case)).total

    answer = {"id": "x", "object": "chat.completion", "model": "gpt-5.4-mini", "usage": USAGE}
    return Begun(
        {"estimate_response_cost, plain text": lambda: estimate_response_cost(answer, provider="openai")}, cost
    )


PRICERS = {
    "openai_meter": Pricer("openai-meter", "", "openai_meter", openai_meter),
    "genai-prices": Pricer("genai-prices", "0.2.3", "genai_prices", genai_prices),
    "litellm": Pricer("litellm", "1.106.2", "litellm", litellm),
    "openai-cost-calculator": Pricer(
        "openai-cost-calculator", "1.3.0", "openai_cost_calculator", openai_cost_calculator
    ),
}


def microseconds(work: Callable[[], object], batches: int = 5) -> float:
    """The time of a call, in the best of a few batches of some milliseconds."""
    timer = timeit.Timer(work)
    once = max(min(timer.repeat(3, 1)), 1e-7)
    number = max(int(0.005 / once), 1)
    return min(timer.repeat(batches, number)) / number * 1e6


def told(cost: Callable[[Case], Any], case: Case) -> str:
    """What a case costs by a library, in dollars, or why it says nothing."""
    try:
        found = cost(case)
        return "nothing" if found is None else f"{Decimal(str(found)):f}"
    except Exception as error:
        return type(error).__name__


def answer(begun: Begun, question: Any) -> Any:
    """What is asked for: the ways there are, the time of one, the cost of a case."""
    if question == "ways":
        return list(begun.ways)
    return microseconds(begun.ways[question]) if isinstance(question, str) else told(begun.cost, question)


def asking(name: str, until: ExitStack) -> tuple[Callable[[Any], Any], str]:
    """What answers questions to a library, here or where it is installed, and its version; leaves it with the stack.

    Raises:
        InstallationError: it could not be installed.
    """
    pricer = PRICERS[name]
    if util.find_spec(pricer.module) is not None:
        begun = pricer.begin()
        return partial(answer, begun), sys.modules[pricer.module].__dict__.get("__version__") or version(pricer.package)
    python = python_for(name, [f"{pricer.package}>={pricer.least}"])
    streams: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = until.enter_context(subprocess.Popen([python, __file__, name], **streams))

    def ask(question: Any) -> Any:
        print(json.dumps(question), file=process.stdin, flush=True)
        for line in process.stdout:
            if line.startswith("= "):  # some libraries print
                return json.loads(line[2:])
        raise InstallationError(f"{name} ended before it answered {question!r}")

    return ask, versions(python, [pricer.package])[pricer.package]


if __name__ == "__main__":
    library = PRICERS[sys.argv[1]].begin()
    for line in sys.stdin:
        print("=", json.dumps(answer(library, json.loads(line))), flush=True)
