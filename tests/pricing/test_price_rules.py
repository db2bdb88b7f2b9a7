"""The rules of costing, one worked case each: what the API reports, and the dollars with their arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from openai_meter.core.usage import Usage
from openai_meter.core.usage_objects import read_usage
from openai_meter.pricing import Billable, Deployment, Price, PriceBook
from openai_meter.usage.billing_details import answer_facts, completion_window, request_facts

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
BOOK = PriceBook()


def chat(tokens_in: int, tokens_out: int, cached: int = 0, **more: Any) -> dict[str, Any]:
    """Usage as chat completions say it."""
    inputs, outputs = more.pop("inputs", {}), more.pop("outputs", {})
    return {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": cached, **inputs},
        "completion_tokens_details": {"reasoning_tokens": 0, **outputs},
        **more,
    }


def resp(tokens_in: int, tokens_out: int, cached: int = 0, written: int = 0, long_lived: int | None = None) -> dict:
    """Usage as responses say it."""
    inputs: dict[str, Any] = {"cached_tokens": cached, "cache_write_tokens": written}
    if long_lived is not None:
        inputs["cache_write_tokens_details"] = {"ttl_30m_tokens": written - long_lived, "ttl_12h_tokens": long_lived}
    return {
        "input_tokens": tokens_in,
        "input_tokens_details": inputs,
        "output_tokens": tokens_out,
        "output_tokens_details": {"reasoning_tokens": tokens_out // 2},
        "total_tokens": tokens_in + tokens_out,
    }


def billable(model: str | None, usage: object, **more: Any) -> Billable:
    """What is priced: ``usage`` as the API says it, counts outside of it in ``plus``, other facts by their field."""
    read = usage if isinstance(usage, Usage) or usage is None else read_usage(usage)
    if plus := more.pop("plus", None):
        read = Usage(**plus) if read is None else read + Usage(**plus)
    return Billable(read, model, **{"at": NOW, "host": "api.openai.com", **more})


def case(usd: str | None, model: str | None, usage: object, **more: Any) -> Any:
    return pytest.param(usd, billable(model, usage, **more))


REALTIME = {
    "total_tokens": 3000,
    "input_tokens": 2000,
    "output_tokens": 1000,
    "input_token_details": {
        "cached_tokens": 1100,
        "text_tokens": 700,
        "audio_tokens": 1200,
        "image_tokens": 100,
        "cached_tokens_details": {"text_tokens": 400, "audio_tokens": 640, "image_tokens": 60},
    },
    "output_token_details": {"text_tokens": 250, "audio_tokens": 750},
}
IMAGE = {
    "input_tokens": 1200,
    "output_tokens": 4160,
    "total_tokens": 5360,
    "input_tokens_details": {"text_tokens": 200, "image_tokens": 1000},
}
SPLIT_IMAGE = {**IMAGE, "output_tokens_details": {"image_tokens": 4000, "text_tokens": 160}}
HEARD = {
    "type": "tokens",
    "input_tokens": 1500,
    "output_tokens": 300,
    "total_tokens": 1800,
    "input_token_details": {"audio_tokens": 1400, "text_tokens": 100},
}
SVG = {
    "model": "gpt-6.1-sol",
    "input_tokens": 900,
    "output_tokens": 2100,
    "reasoning_tokens": 800,
    "total_tokens": 3000,
}
TOOL = {
    "input_tokens": 300,
    "input_tokens_details": {"text_tokens": 300, "image_tokens": 0},
    "output_tokens": 1056,
    "total_tokens": 1356,
    "cached_tokens": 100,
    "cached_tokens_details": {"cached_text_tokens": 100, "cached_image_tokens": 0},
}

CASES = {
    # Predicted outputs: 900 accepted and 300 rejected tokens are inside the 1500. 2000 x 2.50 + 1500 x 10.
    "predicted outputs": case(
        "0.02",
        "gpt-4o",
        chat(2000, 1500, outputs={"accepted_prediction_tokens": 900, "rejected_prediction_tokens": 300}),
    ),
    # Served by default although fast was asked for: 1000 x 2.50 + 100 x 15.
    "refused downgrade": case("0.004", "gpt-5.4", resp(1000, 100), service_tier="default"),
    # No tier in the answer is the default one: 1000 x 0.75 + 100 x 4.50.
    "no tier": case("0.0012", "gpt-5.4-mini", resp(1000, 100), service_tier=None),
    # 12-hour writes: 2000 x 2 + 1000 x 0.20 + 3000 x 2.50 + 4000 x 5 + 100 x 10.
    "written for 12 hours": case("0.0327", "gpt-6-sol", resp(10_000, 100, 1000, 7000, 4000)),
    # 1000 x 2 + 9000 x 5 + 0: the price of its own.
    "written for 12 hours, own price": case("0.047", "gpt-6.2-sol", resp(10_000, 0, 0, 9000, 9000)),
    # 1000 x 1 + 9000 x 2.50.
    "written for 12 hours, terra": case("0.0235", "gpt-6.1-terra", resp(10_000, 0, 0, 9000, 9000)),
    # 12-hour writes of a long request: 50000 x 4 + 250000 x 10.
    "written for 12 hours, long": case("2.7", "gpt-6-sol", resp(300_000, 0, 0, 250_000, 250_000)),
    # 12-hour writes in flex: 5000 x 1 + 5000 x 2.50.
    "written for 12 hours, flex": case("0.0175", "gpt-6-sol", resp(10_000, 0, 0, 5000, 5000), service_tier="flex"),
    # A chat does not split its writes: 30 minutes unless the request says so. 1000 x 2 + 4000 x 2.50 + 100 x 10.
    "written by a chat": case(
        "0.013", "gpt-6-sol", chat(5000, 100, inputs={"cache_write_tokens": 4000}), endpoint="chat.completions"
    ),
    # 1000 x 2 + 4000 x 5 + 100 x 10.
    "written by a chat for 12 hours": case(
        "0.023",
        "gpt-6-sol",
        chat(5000, 100, inputs={"cache_write_tokens": 4000}),
        endpoint="chat.completions",
        details=request_facts({"prompt_cache_options": {"ttl": "12h"}}),
    ),
    # Before gpt-5.6 nothing is charged for writes: 5000 x 1.25 + 100 x 10.
    "written where it is free": case("0.00725", "gpt-5", resp(5000, 100, 0, 4000)),
    # A model without a cached price: 1000 x 30 + 10 x 180.
    "cached without a discount": case("0.0318", "gpt-5.5-pro", resp(1000, 10, 800)),
    # Exactly 272,000 is not long: 272000 x 2.50 + 1000 x 15.
    "exactly 272,000": case("0.695", "gpt-5.4", resp(272_000, 1000)),
    # One more is, and all of it: 272001 x 5 + 1000 x 22.50.
    "272,001": case("1.382505", "gpt-5.4", resp(272_001, 1000)),
    # Cached tokens count for the length: 72001 x 2 x 2 + 200000 x 0.40 + 10 x 15.
    "272,001 with cached ones": case("0.368154", "gpt-6-sol", resp(272_001, 10, 200_000)),
    # Flex has long prices: 300000 x 2.50 + 1000 x 11.25.
    "long in flex": case("0.76125", "gpt-5.4", resp(300_000, 1000), service_tier="flex"),
    # Fast and long, where both are published: 300000 x 8 + 1000 x 30.
    "long and fast": case("2.43", "gpt-6.1-sol", resp(300_000, 1000), service_tier="priority"),
    # Models without long prices have none: 300000 x 0.75.
    "no long price": case("0.225", "gpt-5.4-mini", resp(300_000, 0)),
    # Batch without a discount for cached tokens: 10000 x 1 + 1000 x 4.
    "batch, cached, gpt-4.1": case("0.014", "gpt-4.1", chat(10_000, 1000, 8000), batch=True),
    # 10000 x 1.25 + 1000 x 5.
    "batch, cached, gpt-4o": case("0.0175", "gpt-4o-2024-08-06", chat(10_000, 1000, 8000), batch=True),
    # 10000 x 0.55 + 1000 x 2.20.
    "batch, cached, o4-mini": case("0.0077", "o4-mini", chat(10_000, 1000, 8000), batch=True),
    # Batch with one: 2000 x 1 + 8000 x 0.10 + 1000 x 5.
    "batch, cached, gpt-6-sol": case("0.0078", "gpt-6-sol", resp(10_000, 1000, 8000), batch=True),
    # Half: 1000 x 1 + 1000 x 1.
    "batch, davinci": case("0.002", "davinci-002", chat(1000, 1000), batch=True, endpoint="completions"),
    # 100000 x 0.01.
    "batch, embeddings": case(
        "0.001", "text-embedding-3-small", {"prompt_tokens": 100_000, "total_tokens": 100_000}, batch=True
    ),
    # A batch as a whole: its sum is no long request. 400000 x 1.25 + 1000 x 7.50.
    "batch, summed up": case("0.5075", "gpt-5.4", resp(400_000, 1000), endpoint="batches"),
    # The same prices every model has: 3000 x 0.13.
    "embeddings": case("0.00039", "text-embedding-3-large", {"prompt_tokens": 3000, "total_tokens": 3000}),
    # Text 300 x 4 + 400 x 0.40, audio 560 x 32 + 640 x 0.40, image 40 x 5 + 60 x 0.50, out 250 x 24 + 750 x 64.
    "realtime": case("0.073766", "gpt-realtime-2.1", REALTIME, endpoint="realtime"),
    # The older one's text costs 16: 250 x (24 - 16) less.
    "realtime, older": case("0.071766", "gpt-realtime", REALTIME, endpoint="realtime"),
    # Text 300 x 0.60 + 400 x 0.06, audio 560 x 10 + 640 x 0.30, image 40 x 0.80 + 60 x 0.08,
    # out 250 x 2.40 + 750 x 20.
    "realtime, mini": case("0.0216328", "gpt-realtime-2.1-mini", REALTIME, endpoint="realtime"),
    # Without a split, cached tokens are text first: 0 x 2.50 + 300 x 2.50 + 500 x 32 + 200 x 32 (no cached price).
    "cached audio without a price": case(
        "0.02315", "gpt-audio", chat(1000, 0, 500, inputs={"audio_tokens": 700}), endpoint="chat.completions"
    ),
    # Audio where the catalog knows only text: 100 x 2.50 + 900 x 40 + 50 x 10 + 450 x 80.
    "audio preview": case(
        "0.07275",
        "gpt-4o-audio-preview-2024-12-17",
        chat(1000, 500, inputs={"audio_tokens": 900}, outputs={"audio_tokens": 450}),
    ),
    # Text 200 x 5, image 1000 x 8, out 4160 x 30.
    "image": case("0.1338", "gpt-image-2", IMAGE, endpoint="images.generate", plus={"images": 1}),
    # The same: 2.6 costs what 2 costs.
    "image 2.6": case("0.1338", "gpt-image-2.6-flare", IMAGE, endpoint="images.edit"),
    # Text 200 x 5, image 1000 x 8, out 4000 x 32 + 160 x 10.
    "image, text in the output": case("0.1386", "gpt-image-1.5", SPLIT_IMAGE, endpoint="images.generate"),
    # No details of the output: all of it is the image. 200 x 5 + 1000 x 8 + 4160 x 32.
    "image, output not split": case("0.14212", "gpt-image-1.5", IMAGE, endpoint="images.generate"),
    # Half of gpt-image-2's.
    "image, batch": case("0.0669", "gpt-image-2.6-sunburst", IMAGE, endpoint="images.generate", batch=True),
    # Audio and text at the same price: 1500 x 2.50 + 300 x 10.
    "transcription by tokens": case("0.00675", "gpt-4o-transcribe", HEARD, endpoint="audio.transcriptions"),
    # 1500 x 1.25 + 300 x 5.
    "transcription by tokens, mini": case("0.003375", "gpt-4o-mini-transcribe", HEARD),
    # 12.5 s x 0.006 / 60.
    "whisper": case("0.00125", "whisper-1", {"type": "duration", "seconds": 12.5}, endpoint="audio.transcriptions"),
    # 60 s x 0.006 / 60, which is OpenAI's own estimate.
    "transcription by duration": case("0.006", "gpt-4o-transcribe", {"type": "duration", "seconds": 60}),
    # 120 s x 0.0045 / 60.
    "gpt-transcribe": case("0.009", "gpt-transcribe", {"seconds": 120}),
    # 90 s x 0.05 / 60.
    "live": case("0.075", "gpt-live-1", {"seconds": 90}, endpoint="live"),
    # 4096 x 15 per million.
    "speech": case("0.06144", "tts-1", Usage(characters=4096), endpoint="audio.speech"),
    "speech, hd": case("0.12288", "tts-1-hd", Usage(characters=4096), endpoint="audio.speech"),
    # 100 x 0.60 + 2000 x 12; the characters of the request do not matter.
    "speech by tokens": case("0.02406", "gpt-4o-mini-tts", resp(100, 2000), plus={"characters": 400}),
    "sora": case("0.8", "sora-2", Usage(seconds=8), endpoint="videos", details={"size": "720x1280"}),
    "sora pro 720": case("2.4", "sora-2-pro", Usage(seconds=8), endpoint="videos", details={"size": "1280x720"}),
    "sora pro 1024": case("4", "sora-2-pro", Usage(seconds=8), endpoint="videos", details={"size": "1792x1024"}),
    "sora pro 1080": case("5.6", "sora-2-pro", Usage(seconds=8), endpoint="videos", details={"size": "1080x1920"}),
    "sora batch": case("0.4", "sora-2", Usage(seconds=8), endpoint="videos", details={"size": "720x1280"}, batch=True),
    "failed video": case("0", "sora-2", Usage(seconds=8), endpoint="videos", details={"status": "failed"}),
    "moderation": case("0", "omni-moderation-latest", None, endpoint="moderations"),
    "moderation by its name": case("0", "omni-moderation-latest", resp(100, 0)),
    # 1000 x 2 + 100 x 8 + 2 x 0.025: no reasoning model.
    "preview search": case(
        "0.0528",
        "gpt-4.1",
        resp(1000, 100),
        plus={"web_searches": 2},
        details={"web_search_tool": "web_search_preview"},
    ),
    "preview search, dated": case(
        "0.0528",
        "gpt-4.1-2025-04-14",
        resp(1000, 100),
        plus={"web_searches": 2},
        details=request_facts({"tools": [{"type": "web_search_preview_2025_03_11"}]}),
    ),
    # 1000 x 2.50 + 100 x 15 + 2 x 0.01.
    "preview search, reasoning": case(
        "0.024", "gpt-5.4", resp(1000, 100), plus={"web_searches": 2}, details={"web_search_tool": "web_search_preview"}
    ),
    # 1000 x 2 + 100 x 8 + 2 x 0.01.
    "search": case("0.0228", "gpt-4.1", resp(1000, 100), plus={"web_searches": 2}),
    # 1000 x 0.40 + 100 x 1.60 + 2 x (0.01 + 8000 x 0.40): a fixed block of tokens.
    "search block": case("0.02696", "gpt-4.1-mini", resp(1000, 100), plus={"web_searches": 2}),
    # 1000 x 0.15 + 100 x 0.60 + 0.01 + 8000 x 0.15.
    "search block, dated": case("0.01141", "gpt-4o-mini-2024-07-18", resp(1000, 100), plus={"web_searches": 1}),
    # No block with the preview tool: 1000 x 0.15 + 100 x 0.60 + 0.025.
    "preview search, no block": case(
        "0.02521",
        "gpt-4o-mini",
        resp(1000, 100),
        plus={"web_searches": 1},
        details={"web_search_tool": "web_search_preview"},
    ),
    # 1000 x 2.50 + 100 x 10 + 0.025: it searches before every answer.
    "search model": case("0.0285", "gpt-4o-search-preview", chat(1000, 100), endpoint="chat.completions"),
    # 1000 x 0.15 + 100 x 0.60 + 0.025.
    "search model, mini": case(
        "0.02521", "gpt-4o-mini-search-preview-2025-03-11", chat(1000, 100), endpoint="chat.completions"
    ),
    # 1000 x 2 + 100 x 10 + 3 x 0.0025.
    "file search": case("0.0105", "gpt-6-sol", resp(1000, 100), plus={"file_searches": 3}),
    # Both fees: 1000 x 2 + 100 x 10 + 0.01 + 0.0025.
    "file and web search": case("0.0155", "gpt-6-sol", resp(1000, 100), plus={"file_searches": 1, "web_searches": 1}),
    # 1000 x 2 + 100 x 10 + 2 x 0.03.
    "containers": case("0.063", "gpt-6-sol", resp(1000, 100), plus={"container_sessions": 2}),
    # 1000 x 2 + 100 x 10 + 0.48.
    "container of 16 GB": case(
        "0.483",
        "gpt-6-sol",
        resp(1000, 100),
        plus={"container_sessions": 1},
        details=request_facts(
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "16g"}}]}
        ),
    ),
    # Fees do not follow the tier: 1000 x 1 + 100 x 5 + 0.01.
    "search in flex": case("0.0115", "gpt-6-sol", resp(1000, 100), plus={"web_searches": 1}, service_tier="flex"),
    # 1000 x 2 + 100 x 10, and the image tool: 200 x 5 + 100 x 1.25 + 1056 x 30.
    "image tool": case(
        "0.035805",
        "gpt-6-sol",
        resp(1000, 100),
        details=answer_facts(
            {"tools": [{"type": "image_generation", "model": "gpt-image-2"}], "tool_usage": {"image_gen": TOOL}}
        ),
    ),
    # gpt-image-1-mini: 200 x 2 + 100 x 0.20 + 1056 x 8.
    "image tool, mini": case(
        "0.011868",
        "gpt-6-sol",
        resp(1000, 100),
        details=answer_facts(
            {"tools": [{"type": "image_generation", "model": "gpt-image-1-mini"}], "tool_usage": {"image_gen": TOOL}}
        ),
    ),
    # The image's 0.1338, and its SVG author: 900 x 2 + 2100 x 10, reasoning inside.
    "SVG": case(
        "0.1566", "gpt-image-2.6-flare", IMAGE, endpoint="images.generate", details=answer_facts({"svg_usage": SVG})
    ),
    # 1000 x 2 + 100 x 10 and the author twice.
    "SVG in a response": case(
        "0.0486",
        "gpt-6-sol",
        resp(1000, 100),
        details=answer_facts({"output": [{"type": "image_generation_call", "svg_usage": SVG}] * 2}),
    ),
    # (1000 x 2 + 100 x 10) x 1.1.
    "region": case("0.0033", "gpt-6-sol", resp(1000, 100), host="us.api.openai.com"),
    # Released on the very day of the rule: (1000 x 2.50 + 100 x 15) x 1.1.
    "region, first model": case("0.0044", "gpt-5.4", resp(1000, 100), host="jp.api.openai.com"),
    # An older model: 1000 x 1.75 + 100 x 14.
    "region, older model": case("0.00315", "gpt-5.2", resp(1000, 100), host="eu.api.openai.com"),
    # The fee is not uplifted: (1000 x 2 + 100 x 10) x 1.1 + 0.01.
    "region and search": case(
        "0.0133", "gpt-6-sol", resp(1000, 100), host="in.api.openai.com", plus={"web_searches": 1}
    ),
    # (10000 x 2 + 1000 x 10) x 0.6.
    "window of 8 hours": case(
        "0.018",
        "gpt-6.2-sol",
        resp(10_000, 1000),
        window=completion_window({"background_options": {"completion_window": "8h"}}),
    ),
    # (10000 x 2 + 1000 x 10) x 0.7 x 1.1 + 0.01.
    "window, region, search": case(
        "0.0331", "gpt-6.2-sol", resp(10_000, 1000), window="2h", host="au.api.openai.com", plus={"web_searches": 1}
    ),
    "window soonest": case("0.03", "gpt-6.2-sol", resp(10_000, 1000), window="soonest"),
    # Three times until the end of February: 1000 x 6 + 100 x 30.
    "ultrafast": case("0.009", "gpt-6.2-sol", resp(1000, 100), service_tier="ultrafast"),
    "ultrafast, last day": case(
        "0.009",
        "gpt-6.2-sol",
        resp(1000, 100),
        service_tier="ultrafast",
        at=datetime(2027, 2, 28, 23, 59, 59, tzinfo=UTC),
    ),
    # Then six times: 1000 x 12 + 100 x 60.
    "ultrafast, later": case(
        "0.018", "gpt-6.2-sol", resp(1000, 100), service_tier="ultrafast", at=datetime(2027, 3, 1, tzinfo=UTC)
    ),
    # 600 x 60 + 200 x 6 + 200 x 75 + 100 x 300.
    "ultrafast, astra": case("0.0822", "gpt-6-astra", resp(1000, 100, 200, 200), service_tier="ultrafast"),
    # The alias stood for the first snapshot: 1000 x 5 + 100 x 15.
    "gpt-4o in 2024": case("0.0065", "gpt-4o", chat(1000, 100), at=datetime(2024, 9, 1, tzinfo=UTC)),
    # The newer snapshot never cost that: 1000 x 2.50 + 100 x 10.
    "gpt-4o-2024-08-06 in 2024": case(
        "0.0035", "gpt-4o-2024-08-06", chat(1000, 100), at=datetime(2024, 9, 1, tzinfo=UTC)
    ),
    "gpt-4o in 2025": case("0.0035", "gpt-4o", chat(1000, 100), at=datetime(2025, 3, 1, tzinfo=UTC)),
    # 1000 x 3 + 100 x 12.
    "o1-mini at first": case("0.0042", "o1-mini", chat(1000, 100), at=datetime(2025, 1, 30, 23, 59, tzinfo=UTC)),
    # 1000 x 1.10 + 100 x 4.40.
    "o1-mini later": case("0.00154", "o1-mini", chat(1000, 100), at=datetime(2025, 1, 31, tzinfo=UTC)),
    # 200 x 10 + 800 x 2.50 + 100 x 40.
    "o3 cached, at first": case("0.008", "o3-2025-04-16", chat(1000, 100, 800), at=datetime(2025, 6, 9, tzinfo=UTC)),
    # 200 x 2 + 800 x 0.50 + 100 x 8.
    "o3 cached, later": case("0.0016", "o3", chat(1000, 100, 800), at=datetime(2025, 6, 10, tzinfo=UTC)),
    # 1000 x 0.05 + 100 x 0.40.
    "gpt-5-nano": case("0.00009", "gpt-5-nano", chat(1000, 100)),
    # 200 x 3.75 + 800 x 1.875 + 100 x 15.
    "fine-tuned gpt-4o, cached": case("0.00375", "ft:gpt-4o-2024-08-06:acme::x", chat(1000, 100, 800)),
    # 200 x 2.225 + 800 x 0.90 + 100 x 12.50: the page's own odd figures.
    "fine-tuned gpt-4o, batch": case("0.002415", "ft:gpt-4o-2024-08-06:acme::x", chat(1000, 100, 800), batch=True),
    # 200 x 1.50 + 800 x 0.50 + 100 x 6.
    "fine-tuned gpt-4.1, batch": case("0.0013", "ft:gpt-4.1-2025-04-14:acme:a:x", chat(1000, 100, 800), batch=True),
    # 200 x 4 + 800 x 1 + 100 x 16.
    "fine-tuned o4-mini": case("0.0032", "ft:o4-mini-2025-04-16:acme::x", chat(1000, 100, 800)),
    # A decision costs its input alone, cached or not: 1000 x 0.10.
    "decision": case("0.0001", "gpt-6-luna", resp(1000, 50, 400), endpoint="decisions"),
    # What was used is charged, however it ended.
    "failed with usage": case("0.003", "gpt-6-sol", resp(1000, 100), details={"status": "failed"}),
    "HTTP error": case("0", "gpt-6-sol", None, details={"status": "error"}),
    # Unpriced: no model, no tier, no price of the dimension, not OpenAI's.
    "gpt-oss": case(None, "gpt-oss-120b", resp(1000, 100)),
    "unknown model": case(None, "gpt-7-sol", resp(1000, 100)),
    "no prefix": case(None, "gpt-5.4-micro", resp(1000, 100)),
    "no fuzzy match": case(None, "gpt-5-nano-turbo", resp(1000, 100)),
    "unknown tier": case(None, "gpt-5.4", resp(1000, 100), service_tier="hyperfast"),
    "tier auto": case("0.004", "gpt-5.4", resp(1000, 100), service_tier="auto"),
    "tier scale": case(None, "gpt-5.4", resp(1000, 100), service_tier="scale"),
    "tier that is not sold": case(None, "gpt-4.1", resp(1000, 100), service_tier="flex"),
    "long and fast, not published": case(None, "gpt-5.5", resp(300_000, 100), service_tier="priority"),
    "long, not published": case(None, "gpt-6.2-astra", resp(300_000, 100)),
    "no usage": case(None, "gpt-5.4", None),
    "unknown usage": case(None, "gpt-5.4", Usage()),
    "only a total": case(None, "gpt-5.4", {"total_tokens": 100}),
    "speech without usage": case(None, "gpt-4o-mini-tts", Usage(characters=400), endpoint="audio.speech"),
    "unknown window": case(None, "gpt-6.2-sol", resp(1000, 100), window="24h"),
    "unknown size": case(None, "sora-2", Usage(seconds=8), endpoint="videos", details={"size": "1080x1920"}),
    "another host": case(None, "gpt-5.4", resp(1000, 100), provider="llm.example.com", host="llm.example.com"),
    "no model": case(None, None, resp(1000, 100)),
    # The host's own word: 61,534,000 ticks of 1e-10, and OpenRouter's dollars.
    "x.ai": case(
        "0.0061534",
        "grok-4.3",
        resp(4858, 113, 192),
        provider="api.x.ai",
        details=answer_facts({"usage": {"cost_in_usd_ticks": 61_534_000}}),
    ),
    "OpenRouter": case(
        "0.0000983",
        "z-ai/glm",
        chat(404, 128, 310),
        provider="openrouter.ai",
        details=answer_facts({"usage": {"cost": 9.83e-05, "is_byok": False}}),
    ),
}


@pytest.mark.parametrize(("usd", "what"), CASES.values(), ids=CASES)
def test_call_costs_what_the_price_rules_give(usd: str | None, what: Billable) -> None:
    """A call costs what the rules say, to the last digit, and the lines of its bill sum up to it."""
    cost = BOOK.cost(what)
    assert cost.usd == (None if usd is None else Decimal(usd)), (cost, BOOK.lines(what))
    assert cost.status == ("unpriced" if usd is None else "free" if usd == "0" else "priced"), cost
    assert sum(line.amount_pico for line in BOOK.lines(what)) == (cost.amount_pico or 0)
    assert (cost.reason is not None) or cost.usd is not None


@pytest.mark.parametrize(
    ("kind", "usd"),
    [
        # 1000 x 2 + 100 x 8, times the factor of the deployment's type.
        ("global", "0.0028"),
        ("Global Standard", "0.0028"),
        ("data_zone", "0.00308"),
        ("DataZoneStandard", "0.00308"),
        ("regional", "0.00308"),
        ("ProvisionedManaged", None),
    ],
)
def test_azure_deployment_is_priced_by_model_and_type(kind: str, usd: str | None) -> None:
    """Whatever name its answers have."""
    book = PriceBook(models={"prod-eu": Deployment("gpt-4.1", kind)})
    cost = book.cost(billable("gpt-4", resp(1000, 100), requested_model="prod-eu", provider="azure"))
    assert cost.usd == (None if usd is None else Decimal(usd))
    assert cost.approximate == (kind == "regional")


def test_azure_deployment_without_a_mapping_is_priced_by_its_answer() -> None:
    """The price is marked."""
    cost = PriceBook().cost(billable("gpt-4.1-2025-04-14", resp(1000, 100), requested_model="x", provider="azure"))
    assert (cost.usd, cost.approximate) == (Decimal("0.0028"), True)
    assert cost.reason == "azure deployment type: unknown"


def test_azure_file_search_is_priced_by_zone() -> None:
    """A file search in a data zone costs 2.75 per thousand."""
    book = PriceBook(models={"d": Deployment("gpt-4.1", "data_zone")})
    what = billable("gpt-4.1", resp(0, 0), requested_model="d", provider="azure", plus={"file_searches": 1})
    assert book.cost(what).usd == Decimal("0.00275")


def test_azure_fine_tuned_model_costs_as_its_base() -> None:
    """Azure charges a fine-tuned model as its base: 1000 x 2 + 100 x 8."""
    book = PriceBook(models={"d": "ft:gpt-4.1-2025-04-14:acme::x"})
    cost = book.cost(billable("d", resp(1000, 100), requested_model="d", provider="azure"))
    assert cost.usd == Decimal("0.0028")


PARTS = {
    # Audio has no price with a text model, the rest has: 300 x 2.50 + 50 x 15.
    "audio": ("0.0015", "price: input_audio", "gpt-5.4", chat(1000, 50, inputs={"audio_tokens": 700}), {}),
    # An unknown model's tokens have no price, its search has.
    "search": ("0.01", "unknown model", "gpt-7-sol", resp(1000, 100), {"plus": {"web_searches": 1}}),
    # A container of an unknown size: 1000 x 2 + 100 x 10.
    "container": (
        "0.003",
        "price: container 2g",
        "gpt-6-sol",
        resp(1000, 100),
        {"plus": {"container_sessions": 1}, "details": {"container_memory": "2g"}},
    ),
    # A search on Azure is Bing's: 1000 x 2 + 100 x 8.
    "azure search": (
        "0.0028",
        "price: web search on azure",
        "gpt-4.1",
        resp(1000, 100),
        {"plus": {"web_searches": 1}, "provider": "azure"},
    ),
    # The image tool's model is unknown: 1000 x 2 + 100 x 10.
    "image tool": (
        "0.003",
        "dall-e-9: unknown model",
        "gpt-6-sol",
        resp(1000, 100),
        {"details": {"image_usage": read_usage(TOOL), "image_model": "dall-e-9"}},
    ),
}


@pytest.mark.parametrize(("usd", "reason", "model", "usage", "more"), PARTS.values(), ids=PARTS)
def test_partly_known_price_is_partial_with_its_gaps(
    usd: str, reason: str, model: str, usage: dict, more: dict
) -> None:
    """The known part is priced, and the unknown part is named."""
    cost = BOOK.cost(billable(model, usage, **more))
    assert (cost.usd, cost.status, cost.reason) == (Decimal(usd), "partial", reason)


MARKS = [
    (billable("gpt-5.4-mini-2026-03-17", resp(1, 1)), False, False),  # the catalog lists this snapshot
    (billable("gpt-5.4-mini-2027-01-01", resp(1, 1)), True, False),
    (billable("gpt-6-sol", resp(1, 1), plus={"container_sessions": 1}), False, True),
    (billable("gpt-4.1-mini", resp(1, 1), plus={"web_searches": 1}), False, True),
    (billable("gpt-4o-transcribe", {"seconds": 60}), False, True),
    (billable("gpt-5.4", resp(400_000, 1), endpoint="batches"), False, True),
    (billable("sora-2", Usage(seconds=4), endpoint="videos"), False, True),
    (billable("gpt-6-sol", resp(100, 1, 200)), True, True),  # more cached than there is
    (billable("gpt-5.4-mini", resp(1, 1), service_tier="flex", at=datetime(2026, 6, 1, tzinfo=UTC)), True, False),
]


@pytest.mark.parametrize(("what", "approximate", "estimated"), MARKS)
def test_approximate_price_and_estimated_quantity_are_marked(
    what: Billable, approximate: bool, estimated: bool
) -> None:
    """A price of a near relative is marked approximate, a quantity that is guessed is marked estimated."""
    cost = BOOK.cost(what)
    assert (cost.status, cost.approximate, cost.estimated) == ("priced", approximate, estimated)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("gpt-7-sol", "unknown model"),
        ("gpt-oss-20b", "not sold by OpenAI"),
    ],
)
def test_unpriced_call_has_a_reason(model: str, reason: str) -> None:
    """An unpriced call says why."""
    assert BOOK.cost(billable(model, resp(10, 10))).reason == reason


def test_reason_names_both_the_tier_and_the_length() -> None:
    """A long request in a tier without long prices names both."""
    assert BOOK.cost(billable("gpt-5.4", resp(300_000, 1), service_tier="fast")).reason == "long+priority"


def test_tier_price_begins_with_the_last_standard_price() -> None:
    """A tier that the catalog dates later applies back to the last change of the standard price, and not further."""
    may = billable("gpt-5.6-luna", resp(1000, 100), service_tier="flex", at=datetime(2026, 7, 29, tzinfo=UTC))
    assert BOOK.cost(may).reason == "tier: flex"
    august = billable("gpt-5.6-luna", resp(1000, 100), service_tier="flex", at=datetime(2026, 7, 30, tzinfo=UTC))
    assert BOOK.cost(august).usd == Decimal("0.00016")  # 1000 x 0.10 + 100 x 0.60


OWN = PriceBook({"ours": Price(input="0.10", output="0.50", tiers={"flex": Price(input="0.05", output="0.25")})})


@pytest.mark.parametrize(
    ("provider", "tier", "usd"),
    [
        ("llm.example.com", "on_demand", "0.00015"),
        ("llm.example.com", "auto", "0.00015"),
        ("llm.example.com", "", "0.00015"),
        ("llm.example.com", "flex", "0.000075"),
        ("llm.example.com", "priority", "0.00015"),  # that host's word, for which the caller has named no other price
        ("openai", "on_demand", "0.00015"),
        ("openai", "auto", "0.00015"),
        ("azure", "", "0.00015"),
        ("openai", "flex", "0.000075"),
        ("openai", "priority", None),
    ],
)
def test_unknown_tier_of_a_model_with_an_own_price_is_priced(provider: str, tier: str, usd: str | None) -> None:
    """A tier that no price list has leaves a model its own price: 1000 in, 100 out."""
    cost = OWN.cost(billable("ours", resp(1000, 100), provider=provider, service_tier=tier))
    assert (cost.usd, cost.reason) == ((None, f"tier: {tier}") if usd is None else (Decimal(usd), None))


@pytest.mark.parametrize("provider", ["openai", "azure"])
def test_tier_that_was_only_requested_is_estimated(provider: str) -> None:
    """An answer that repeats "auto" does not state which tier served it: the ordinary price, marked."""
    given = billable("gpt-5.4", resp(1000, 100), provider=provider, service_tier="auto")
    served = BOOK.cost(given._replace(service_tier="default"))
    cost = BOOK.cost(given)
    assert (cost.usd, cost.status, cost.estimated, served.estimated) == (served.usd, "priced", True, False)
    assert "tier: auto" in (cost.reason or "") or provider == "azure"


def test_unknown_tier_of_openai_has_no_price() -> None:
    """OpenAI's own models in a tier that no price list has are unpriced, never charged at the ordinary price."""
    cost = BOOK.cost(billable("gpt-4.1", resp(1000, 100), service_tier="turbo"))
    assert (cost.usd, cost.reason) == (None, "tier: turbo")


@pytest.mark.parametrize(
    ("model", "base"),
    [
        ("gpt-4.1-mini-2025-04-14.ft-0e208cf33a6a466994aff31a08aba678", "gpt-4.1-mini-2025-04-14"),
        ("gpt-4o-2024-08-06.ft-5f1c-forms", "gpt-4o-2024-08-06"),
        ("gpt-35-turbo-0125.ft-b044a9d3cf9c4228b5d393567f693b83", "gpt-3.5-turbo-0125"),
        ("gpt-35-turbo-0125", "gpt-3.5-turbo-0125"),
    ],
)
def test_azure_names_of_a_model_cost_the_model(model: str, base: str) -> None:
    """Azure has names of its own for fine-tuned models and for gpt-3.5; their tokens cost those of the model."""
    cost, expected = (
        BOOK.cost(billable(name, resp(1000, 100), requested_model="d", provider="azure")) for name in (model, base)
    )
    assert cost.usd is not None
    assert cost == expected


def test_azure_name_of_a_fine_tuned_model_elsewhere_has_no_price() -> None:
    """The rule is Azure's: with OpenAI, no model has such a name."""
    assert BOOK.cost(billable("gpt-4.1-mini.ft-0e20", resp(1000, 100))).usd is None
