"""The option ``--host``: proxies and gateways of the user's own that pass calls to OpenAI or Azure."""

from __future__ import annotations

import os
from collections.abc import Iterable

from openai_meter.core import settings
from openai_meter.errors import ConfigurationError

__all__ = ["add_hosts", "parsed_hosts"]

_PROVIDERS = ("openai", "azure")


def parsed_hosts(texts: Iterable[str]) -> dict[str, str]:
    """The provider of each host in texts such as ``llm.example.com`` and ``llm.example.com=azure``.

    Raises:
        ConfigurationError: a text cannot be read.
    """
    found = {}
    for text in texts:
        host, _, provider = text.partition("=")
        provider = provider or "openai"
        if not host or "/" in host or provider not in _PROVIDERS:
            raise ConfigurationError(
                f"--host {text!r} cannot be used; write the name of a host, or HOST=PROVIDER with openai or azure"
            )
        found[host] = provider
    return found


def add_hosts(texts: Iterable[str]) -> None:
    """Adds hosts to those of the environment, for this process and the processes below it.

    Raises:
        ConfigurationError: a text cannot be read.
    """
    if added := parsed_hosts(texts):
        hosts = {**settings.get("hosts"), **added}
        os.environ[settings.variable("hosts")] = ",".join(f"{host}={provider}" for host, provider in hosts.items())
