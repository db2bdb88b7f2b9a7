"""The attributes of metrics under the names of OpenTelemetry's conventions, each with a limited number of values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from openai_meter.core.call import Call
from openai_meter.core.usage import Usage

__all__ = ["ATTRIBUTION", "AttributeMaker"]

_OPERATIONS = {
    "chat.completions": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
}
"""Names of the conventions by endpoint; other endpoints keep their own names."""

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
"""Names of the conventions by provider; other hosts keep their own names."""

ATTRIBUTION: Mapping[str, str] = {
    "agent": "gen_ai.agent.name",
    "user": "user.id",
    "session": "session.id",
    "operation": "openai_meter.operation",
    "block": "openai_meter.block",
    "organization": "openai_meter.organization",
    "project": "openai_meter.project",
}
"""The fields of attribution, under the names of the conventions where those have one."""

_OTHER = "other"

Read = Callable[[Call], str | None]


class AttributeMaker:
    """Makes the attributes of calls.

    Args:
        names: the fields of attribution to add; already checked.
        values: the number of values that each attribute can have.
        latest: whether to follow the newest conventions.
    """

    PARTS = (
        "input_tokens", "output_tokens", "cache_read.input_tokens", "cache_write.input_tokens",
        "reasoning.output_tokens",
    )  # fmt: skip
    """The counters of the newest conventions."""

    def __init__(self, names: tuple[str, ...], values: int, *, latest: bool) -> None:
        self.latest = latest
        self._values = values
        self._known: dict[str, set[str]] = {}
        self._rows: tuple[tuple[str, Read], ...] = (
            ("gen_ai.operation.name", lambda call: _OPERATIONS.get(call.endpoint, call.endpoint)),
            ("gen_ai.provider.name", lambda call: _PROVIDERS.get(call.provider, call.provider)),
            ("gen_ai.request.model", lambda call: call.requested_model),
            ("gen_ai.response.model", lambda call: None if call.failed else call.model),
            ("server.address", lambda call: call.host),
            *((ATTRIBUTION.get(name, f"openai_meter.tag.{name[4:]}"), _reader(name)) for name in names),
        )

    def attributes(self, call: Call) -> dict[str, Any]:
        """The attributes of all metrics of a call, without those that are unknown."""
        return {name: self._bounded(name, value) for name, read in self._rows if (value := read(call))}

    def error(self, call: Call) -> str | None:
        """The error type, if the call counts as an error."""
        return self._bounded("error.type", call.error_type or "_OTHER") if call.failed else None

    @staticmethod
    def cost(call: Call) -> dict[str, Any]:
        """The attributes of a cost: its currency and its source."""
        stated = call.price_source == "provider"
        return {"gen_ai.usage.cost.currency": "USD", "gen_ai.usage.cost.source": "provider" if stated else "local"}

    @staticmethod
    def marked(attributes: dict[str, Any], *, estimated: bool) -> dict[str, Any]:
        """The attributes, with a mark if the value contains an estimate."""
        return {**attributes, "openai_meter.estimated": True} if estimated else attributes

    @staticmethod
    def parts(usage: Usage) -> Iterator[tuple[str, str, int]]:
        """The used tokens by counter and modality. Within one counter, each token is in one modality."""
        audio, image = (usage.input_audio_tokens, usage.output_audio_tokens), (
            usage.input_image_tokens, usage.output_image_tokens,
        )  # fmt: skip
        read = (usage.cached_input_tokens, usage.cached_audio_tokens, usage.cached_image_tokens)
        for name, whole, sound, picture in (
            ("input_tokens", usage.input_tokens, audio[0], image[0]),
            ("output_tokens", usage.output_tokens, audio[1], image[1]),
            ("cache_read.input_tokens", *read),
            ("cache_write.input_tokens", usage.cache_write_tokens, 0, 0),
            ("reasoning.output_tokens", usage.reasoning_tokens, 0, 0),
        ):
            for modality, number in (
                ("text", (whole or 0) - sound - picture), ("audio", sound), ("image", picture),
            ):  # fmt: skip
                if number > 0:
                    yield name, modality, number

    def _bounded(self, name: str, value: str) -> str:
        """The value, or ``other`` if the attribute has its maximum of values already."""
        known = self._known.setdefault(name, set())
        if value not in known:
            if len(known) >= self._values:
                return _OTHER
            known.add(value)
        return value


def _reader(name: str) -> Read:
    if name.startswith("tag:"):
        return lambda call: call.tags.get(name[4:])
    return lambda call: getattr(call, name)
