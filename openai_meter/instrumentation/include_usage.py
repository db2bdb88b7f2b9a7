"""Asks for the usage of streams whose callers did not, and keeps from them what comes of that.

A chat stream reports its usage only where ``stream_options.include_usage`` was sent. Where the host is known to accept
that, the option is injected into the request. The chunk that answers it is hidden from the program by its shape (no
choices, but usage), and the ``"usage": null`` that the other chunks then carry is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from openai_meter.core.bounded import Bounded
from openai_meter.errors import ConfigurationError
from openai_meter.usage.endpoints import Endpoint

__all__ = ["StreamUsage", "accepted", "check", "configure", "inject", "refused", "should_inject", "strip_usage"]

StreamUsage = Literal["auto", "always", "never"]
_RAW = "x-stainless-raw-response"
_KNOWN = ("openai", "azure")
_OPENAI = ".api.openai.com"
_WORDS = ("stream_options", "include_usage")
_REFUSALS = frozenset({400, 422})


class _Policy:
    """Whom to ask. One for the process, as the patches are."""

    mode: str = "auto"
    hosts: frozenset[str] = frozenset()


_policy = _Policy()
_answers: Bounded[str, bool] = Bounded(1_000)
"""What hosts have made of it: whether they take it."""


def configure(stream_usage: str | Collection[str]) -> None:
    """Says where to ask: ``auto`` (OpenAI, Azure), ``always``, ``never``; or hosts to ask beside those of ``auto``.

    Raises:
        ConfigurationError: that is neither; nothing is changed then.
    """
    if isinstance(stream_usage, str):
        check(stream_usage)
        _policy.mode, _policy.hosts = stream_usage, frozenset()
    elif isinstance(stream_usage, Collection) and all(isinstance(host, str) for host in stream_usage):
        _policy.mode, _policy.hosts = "auto", frozenset(stream_usage)
    else:
        raise ConfigurationError(f"stream_usage={stream_usage!r} is no word and no list of hosts")
    _answers.clear()


def check(word: str) -> None:
    """Raises ConfigurationError where a word says nothing about where to ask."""
    if word not in ("auto", "always", "never"):
        raise ConfigurationError(
            f"stream_usage={word!r} is none of 'auto', 'always', 'never'; "
            "to name hosts that take stream_options, pass a list of them"
        )


def should_inject(row: Endpoint, body: Mapping[str, Any], headers: object, provider: str, host: str) -> bool:
    """Whether to ask for the usage of a stream that is about to be requested."""
    mode = _policy.mode
    if not row.opt_in or mode == "never":
        return False
    if mode != "always" and provider not in _KNOWN and host not in _policy.hosts:
        return False
    options = body.get("stream_options")
    if options is not None and not isinstance(options, Mapping):
        return False
    if options and "include_usage" in options and (options["include_usage"] or mode != "always"):
        return False  # the caller has injected, or has said that it is not wanted
    if isinstance(headers, Mapping) and any(str(name).lower() == _RAW for name in headers):
        return False  # who reads the bytes would see the chunk
    return _answers.get(host) is not False


def inject(options: Any) -> None:
    """Asks, in new dicts, on options that are ours; what the caller passed stays as it is."""
    extra = options.extra_json
    place = "extra_json" if isinstance(extra, Mapping) and "stream_options" in extra else "json_data"
    body = getattr(options, place)
    given = body.get("stream_options") or {}
    setattr(options, place, {**body, "stream_options": {**given, "include_usage": True}})


def refused(error: BaseException, host: str) -> bool:
    """Whether a host may have refused a request because it was injected.

    Where the answer does not say so, only hosts that have never been heard to take it are tried again: a mistake of
    the program's is not sent to OpenAI itself twice.
    """
    if getattr(error, "status_code", None) not in _REFUSALS:
        return False
    if any(word in f"{error} {getattr(error, 'body', '')}" for word in _WORDS):
        _answers.put(host, False)
        return True
    return not f".{host}".endswith(_OPENAI) and _answers.get(host) is None


def accepted(host: str, *, injected: bool) -> None:
    """Remembers that a host has answered a request, as it was injected or only when it was not."""
    if _answers.get(host) is None:
        _answers.put(host, injected)


def strip_usage(chunk: Any) -> bool:
    """Whether a chunk is nothing but the answer to our question. Of others, takes the trace of it away."""
    try:
        if chunk.__dict__["usage"] is None:  # as of almost every chunk
            chunk.__pydantic_fields_set__.discard("usage")
            return False
    except (AttributeError, KeyError):  # a dict, or a model of pydantic 1
        pass
    said = chunk if type(chunk) is dict else getattr(chunk, "__dict__", None)
    if said is None:
        return False
    if said.get("usage") is not None:
        return said.get("choices") == []
    if said is chunk:
        said.pop("usage", None)
    else:
        fields = getattr(chunk, "__pydantic_fields_set__", None) or getattr(chunk, "__fields_set__", None)
        if isinstance(fields, set):
            fields.discard("usage")
    return False
