"""The metering proxy: OpenAI traffic of programs in any language passes through it unchanged, and is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai_meter.server.proxy.app import Proxy
    from openai_meter.server.proxy.serving import ProxyServer, start

__all__ = ["Proxy", "ProxyServer", "start"]

_MODULES = {"Proxy": "app", "ProxyServer": "serving", "start": "serving"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - its packages are an extra

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
