"""The provider that answers a request: OpenAI, Azure, or another host, by the client's URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from openai_meter.core import faults, settings
from openai_meter.errors import ConfigurationError

__all__ = [
    "Hosts", "answers_itself", "checked_hosts", "deployment", "hosts_from_environment", "keeps_base", "known_provider",
    "provider", "provider_of_host", "set_hosts",
]  # fmt: skip

_PROVIDERS = ("openai", "azure")


class Hosts:
    """The providers of some hosts; ``None`` until they are set, or read from the environment by the first call."""

    known: Mapping[str, str] | None = None
    """The providers by host. A new object each time that they are set."""


def set_hosts(hosts: Mapping[str, str] | None) -> None:
    """Sets the providers of some hosts. Replaces what was set before; ``None`` stands for those of the environment."""
    Hosts.known = None if hosts is None else dict(hosts)
    _providers.clear()
    _bases.clear()
    _known.clear()


def checked_hosts(hosts: Mapping[str, str]) -> Mapping[str, str]:
    """The same hosts.

    Raises:
        ConfigurationError: one of them stands for something else than a provider.
    """
    for host, provider in hosts.items():
        if provider not in _PROVIDERS:
            raise ConfigurationError(f"hosts[{host!r}] is {provider!r}; a host can stand for 'openai' or 'azure'")
    return hosts


def hosts_from_environment() -> Mapping[str, str]:
    """The hosts that ``OPENAI_METER_HOSTS`` names.

    Raises:
        ConfigurationError: its value cannot be used.
    """
    return checked_hosts(settings.get("hosts"))


def _hosts() -> Mapping[str, str]:
    """The hosts that are set. A program that uses ``track()`` or ``wrap()`` alone has those of the environment."""
    known = Hosts.known
    if known is None:
        try:
            known = hosts_from_environment()
        except ConfigurationError as error:  # a call is being made: install() would have raised it
            faults.caught(error, "reading the hosts of the environment")
            known = {}
        Hosts.known = known
    return known


_providers: dict[tuple[type[Any], str], str] = {}
_bases: dict[int, tuple[Any, type[Any], tuple[str, str]]] = {}
"""Base URLs by ``id()``, each with the class of its client, its provider and host. The URL is held: its id is not
reused then. Reading the host of a URL takes longer than all the rest."""
_KEEPING = ("openai._base_client", "openai._client")
"""The modules of the SDK whose property ``base_url`` returns ``_base_url``."""
_WITHOUT_GATEWAY = ("api.openai.com", ".openai.azure.com")
_AZURE_HOSTS = (".azure.com", ".azure-api.net", ".azure.us", ".azure.cn")


def answers_itself(host: str) -> bool:
    """Whether a host is OpenAI's or Azure's own: no proxy or gateway answers for it."""
    return host.endswith(_WITHOUT_GATEWAY)


def keeps_base(client: Any) -> bool:
    """Whether the attribute ``_base_url`` of a client is where it sends its requests.

    The client of the module (``openai.chat.completions.create``) reads ``openai.base_url`` each time, which a program
    may set at any moment. A class of the program's own may do the like.
    """
    reader = getattr(getattr(type(client), "base_url", None), "fget", None)
    return reader is None or reader.__module__ in _KEEPING  # that of a class is "openai" for all that is public


def provider(client: Any, url: str) -> tuple[str, str]:
    """The provider (``openai``, ``azure``, or the host), and the host."""
    if "://" in url:
        return _provider_at(client, urlsplit(url).hostname or "")
    base = client.__dict__.get("_base_url")
    known = _bases.get(id(base))
    if known is not None and known[0] is base and known[1] is type(client):
        return known[2]
    if base is None or not keeps_base(client):
        return _provider_at(client, client.base_url.host)
    found = _provider_at(client, base.host)
    # A URL may have a password in its userinfo and a key in its query: such a URL is not held.
    if not base.userinfo and not base.query:
        if len(_bases) >= 64:
            _bases.clear()  # some programs make a client for each call
        _bases[id(base)] = base, type(client), found
    return found


def _provider_at(client: Any, host: str) -> tuple[str, str]:
    key = (type(client), host)
    found = _providers.get(key)
    if found is None:
        if (named := _hosts().get(host)) is not None:
            found = named
        elif (own := _own_host(host)) is not None:
            found = own
        elif any(base.__name__ == "BaseAzureClient" for base in type(client).__mro__):
            found = "azure"
        else:
            found = host or "unknown"
        if len(_providers) < 1_000:
            _providers[key] = found
    return found, host


def _own_host(host: str) -> str | None:
    """``openai`` or ``azure`` for a host of theirs."""
    if host == "api.openai.com" or host.endswith(".api.openai.com"):
        return "openai"
    return "azure" if host.endswith(_AZURE_HOSTS) else None


_known: dict[str, str | None] = {}
"""By host, as it was written: what :func:`known_provider` has found."""


def known_provider(place: str) -> str | None:
    """The provider of a host that is OpenAI's, Azure's or named in ``hosts=``; ``None`` for any other host.

    Almost every request of a program that is watched at its HTTP library goes elsewhere: that costs one look-up.

    Args:
        place: the host, or what stands in a URL between its scheme and its path.
    """
    try:
        return _known[place]
    except KeyError:
        pass
    name = place.rpartition("@")[2]
    name = name[1:].partition("]")[0] if name[:1] == "[" else name.partition(":")[0]
    found = _hosts().get(name := name.lower()) or _own_host(name)
    if "@" not in place:  # a password is not held
        if len(_known) >= 10_000:
            _known.clear()  # a crawler has many
        _known[place] = found
    return found


def provider_of_host(host: str) -> str:
    """The provider (``openai``, ``azure``, or the host) that answers at a host."""
    return _provider_at(None, host)[0]


def deployment(client: Any, url: str) -> str | None:
    """The Azure deployment in a URL, for requests whose body names no model."""
    match = re.search(r"/deployments/([^/]+)/", f"{client.base_url}{url.lstrip('/')}")
    return match[1] if match else None
