"""Reads the spend logs of a LiteLLM proxy: rows of its table ``LiteLLM_SpendLogs`` as JSON objects or lines of CSV.

Its columns, as of 2026 (``schema.prisma`` of BerriAI/litellm): ``request_id``, ``call_type``, ``spend``,
``total_tokens``, ``prompt_tokens``, ``completion_tokens``, ``startTime``, ``endTime``, ``completionStartTime``,
``model``, ``custom_llm_provider``, ``api_base``, ``user``, ``end_user``, ``team_id``, ``session_id``, ``agent_id``,
``metadata``, ``cache_hit``, ``request_tags``, ``status``. The columns with the hash of a key, with messages
and with responses are not read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from urllib.parse import urlsplit

from openai_meter.core.call import Call, make_call
from openai_meter.core.usage import Usage, count, fields_of
from openai_meter.core.usage_objects import read_usage
from openai_meter.usage.providers import provider_of_host

__all__ = ["CALL_TYPES", "IDENTIFIED_BY", "SOURCE", "read_row"]

IDENTIFIED_BY = "startTime"
"""The column by which a row of a spend log is recognised."""
SOURCE = "litellm"
"""The source of prices where the cost is the one that the log states."""
CALL_TYPES = {
    "chat.completions": "completion",
    "completions": "text_completion",
    "responses": "responses",
    "embeddings": "embedding",
    "images.generate": "image_generation",
    "images.edit": "image_edit",
    "audio.transcriptions": "transcription",
    "audio.speech": "speech",
    "moderations": "moderation",
}
"""What LiteLLM calls our endpoints; others keep their names. An ``a`` before a name is the asynchronous function."""

_ENDPOINTS = {name: endpoint for endpoint, one in CALL_TYPES.items() for name in (one, f"a{one}")}
_PROVIDERS = {"openai": "openai", "azure": "azure", "azure_text": "azure", "text-completion-openai": "openai"}
_OWN_TAG = "User-Agent:"
"""How the tags begin that LiteLLM adds itself."""


def read_row(
    row: Mapping[str, Any], zone: tzinfo | None, identify: Callable[[datetime, str], str]
) -> tuple[Call, object | None]:
    """The call of a row, without a price; and the spend that the row states, ``None`` where it states none.

    LiteLLM writes a spend of 0 also where it has no price: that is not a known cost.

    Args:
        row: the columns of a row; empty texts are missing values.
        zone: the timezone of times without an offset; LiteLLM writes UTC.
        identify: makes the id of a call from its time and the ``request_id``.

    Raises:
        KeyError: a column is missing.
        ValueError: a value is not what it should be.
    """
    values = {name: value for name, value in row.items() if value not in (None, "")}
    request_id = str(values["request_id"])
    began, ended = (_time(values, name, zone) for name in ("startTime", "endTime"))
    first = _time(values, "completionStartTime", zone) if "completionStartTime" in values else ended
    metadata = _object(values, "metadata")
    provider, host = _provider(values)
    usage = _usage(values, metadata)
    failed = str(values.get("status") or metadata.get("status") or "").lower() == "failure"
    hit = str(values.get("cache_hit")).lower() == "true"
    call = make_call(
        id=identify(began, request_id),
        started_at=began,
        duration=max((ended - began).total_seconds(), 0.0),
        endpoint=_ENDPOINTS.get(kind := _text(values.get("call_type")) or "completion", kind),
        provider=provider,
        host=host,
        model=_model(values, provider),
        requested_model=_text(values.get("model_group")),
        status="error" if failed else "ok",
        error_type=_text(fields_of(metadata.get("error_information")).get("error_class")) if failed else None,
        usage=usage,
        usage_source="api" if usage.known else "none",
        response_id=request_id,
        stream=began < first < ended,
        time_to_first_token=(first - began).total_seconds() if began < first < ended else None,
        agent=_text(values.get("agent_id")),
        user=_text(values.get("end_user")) or _text(values.get("user")),
        session=_text(values.get("session_id")),
        tags=_tags(values),
        price_facts={"gateway_cache_hit": True} if hit else {"status": "error"} if failed else {},
    )
    spend = values.get("spend")
    return call, None if spend is None or not float(spend) else spend


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(values: Mapping[str, Any], name: str, zone: tzinfo | None) -> datetime:
    value = values[name]
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, which is not a time such as 2026-10-31T12:00:00") from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=zone or UTC)).astimezone(UTC)


def _json(values: Mapping[str, Any], name: str) -> Any:
    """A JSON column: CSV has it as text."""
    value = values.get(name)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError(f"{name} is {value[:60]!r}, which is not JSON") from None


def _object(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = _json(values, name)
    return value if isinstance(value, Mapping) else {}


def _number(values: Mapping[str, Any], name: str) -> int | None:
    value = values.get(name)
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            raise ValueError(f"{name} is {value!r}, which is not a number of tokens") from None
    if value is not None and count(value) is None:
        raise ValueError(f"{name} is {value!r}, which is not a number of tokens")
    return value


def _usage(values: Mapping[str, Any], metadata: Mapping[str, Any]) -> Usage:
    """The tokens of a row; newer versions keep the usage object, with the cached tokens, in ``metadata``.

    Zeros are what LiteLLM writes where there was no usage.
    """
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    totals = {name: _number(values, name) for name in names}
    parts = {name: _number(values, name) for name in ("cache_read_input_tokens", "cache_creation_input_tokens")}
    if not any(totals.values()):
        return Usage()
    details = fields_of(metadata.get("usage_object"))
    more = {name: value for name, value in details.items() if name not in names}
    return read_usage({**{name: value for name, value in parts.items() if value}, **more, **totals}) or Usage()


def _provider(values: Mapping[str, Any]) -> tuple[str, str | None]:
    base = _text(values.get("api_base")) or ""
    host = urlsplit(base if "//" in base else f"//{base}").hostname or None
    named = _text(values.get("custom_llm_provider"))
    if named is not None:
        return _PROVIDERS.get(named, named), host
    return ("openai" if host is None else provider_of_host(host)), host


def _model(values: Mapping[str, Any], provider: str) -> str | None:
    """The name of the model, without the name of the provider that LiteLLM puts before it."""
    model = _text(values.get("model"))
    if model is None:
        return None
    prefix, slash, name = model.partition("/")
    return name if slash and name and (prefix == provider or _PROVIDERS.get(prefix) == provider) else model


def _tags(values: Mapping[str, Any]) -> dict[str, str]:
    """The tags: ``name:value`` is a tag with a value, another text one that is ``true``; and the team."""
    listed = _json(values, "request_tags")
    found: dict[str, str] = {}
    for tag in listed if isinstance(listed, list) else ():
        if isinstance(tag, str) and tag and not tag.startswith(_OWN_TAG):
            name, colon, value = tag.partition(":")
            found.setdefault(name.strip() if colon and name.strip() else tag, value.strip() if colon else "true")
    if (team := _text(values.get("team_id"))) is not None:
        found["team"] = team
    if _text(values.get("end_user")) is not None and (owner := _text(values.get("user"))) is not None:
        found["litellm_user"] = owner
    return found
