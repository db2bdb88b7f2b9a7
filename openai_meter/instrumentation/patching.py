"""Patches the openai package while there are listeners.

As long as :mod:`~openai_meter.instrumentation.listening` has listeners, ``request`` is wrapped on each class of the two
client trees that defines it: methods of resources hold a bound ``post`` from before, but that looks ``request`` up when
it is called. WebSocket connections are wrapped as soon as the library that they are made with is imported. Without
listeners all is restored. What is imported later, or loaded anew, is patched by import hooks.
"""

from __future__ import annotations

import atexit
import sys
from types import ModuleType

from openai_meter.core import faults
from openai_meter.core.import_hooks import after_import
from openai_meter.core.patching import Patches, tree
from openai_meter.instrumentation.http import copy_mark, process_response, request_wrappers
from openai_meter.instrumentation.http_clients.switch import HttpSwitch
from openai_meter.instrumentation.listening import registry
from openai_meter.instrumentation.retries import sleep_for_retry
from openai_meter.instrumentation.sdk import Sdk
from openai_meter.metering.call_in_flight import finish_open_streams

__all__ = ["BASE_CLIENT", "CONNECTION_MODULES", "is_client", "patcher"]

BASE_CLIENT = "openai._base_client"
CONNECTION_MODULES = (
    "openai.resources.realtime.realtime",
    "openai.resources.realtime.translations.translations",
    "openai.resources.live.live",
    "openai.resources.live.forks",
    "openai.resources.live.sideband",
    "openai.resources.responses.responses",
    "openai.resources.beta.realtime.realtime",
    "openai.resources.beta.responses.responses",
    "openai.lib.responses_websocket._session",
)
"""Where the SDK's WebSocket connections are. To add one, add its module. No version has all of them."""
_TRANSPORT = "websockets"
"""The library that connections are made with: the SDK imports it when the first one is opened, and not before."""


class Patcher:
    """Patches imported packages, at once or on import. One for the process; callers hold the registry's lock."""

    def __init__(self) -> None:
        self.patches = Patches()
        self.http = HttpSwitch()
        self._sdk: Sdk | None = None
        self._has_hooks = False

    def apply(self) -> None:
        """Updates the patches for the present listeners. A stub in place of openai is not patched."""
        self.http.apply()
        if not registry.wants_requests:
            self.patches.undo()
            return
        if not self._has_hooks:
            # Also where openai is in sys.modules: another thread may be in the middle of importing it.
            self._has_hooks = True
            # Not before: handlers that the program has registered so far, such as a report, run after it.
            atexit.register(finish_open_streams)
        self._register_hooks()
        base = sys.modules.get(BASE_CLIENT)
        if base is not None:
            self._patch_clients(base)
        self._patch_connections()

    def _register_hooks(self) -> None:
        after_import(BASE_CLIENT, self._on_client_import)
        for name in (*CONNECTION_MODULES, _TRANSPORT):
            after_import(name, self._on_connection_import)

    def _on_client_import(self, base: ModuleType) -> None:
        with registry.lock:
            if registry.wants_requests:
                try:
                    self._patch_clients(base)
                except Exception as error:
                    faults.caught(error, "patching openai")

    def _on_connection_import(self, _: ModuleType) -> None:
        with registry.lock:
            if registry.wants_connections or registry.running_blocks:
                try:
                    self._patch_connections()
                except Exception as error:
                    faults.caught(error, "patching connections")

    def _patch_clients(self, base: ModuleType) -> None:
        """Patches every class that there is by now in the client trees of a base module."""
        sdk = self._sdk_of(base)
        if sdk is None:
            return
        for root, request in zip((sdk.sync_client, sdk.async_client), sdk.wrappers, strict=True):
            for owner in tree(root):
                self.patches.add(owner, "request", request)
                self.patches.add(owner, "_sleep_for_retry", sleep_for_retry)
                self.patches.add(owner, "_process_response", process_response)
                if registry.has_wrapped:
                    self.patches.add(owner, "copy", copy_mark)
                    self.patches.add(owner, "with_options", copy_mark)

    def _sdk_of(self, base: ModuleType) -> Sdk | None:
        """The names of this openai package. It may have been loaded anew since the last time, with other classes."""
        if self._sdk is None or not self._sdk.is_of(base):
            found = Sdk.of(base)
            if found is None:
                return None
            self._sdk = found._replace(wrappers=request_wrappers(found))
        return self._sdk

    def _patch_connections(self) -> None:
        """Patches every WebSocket connection that there is by now; a program that opens none has nothing patched."""
        managers = registry.wants_connections
        found = [module for name in CONNECTION_MODULES if isinstance(module := sys.modules.get(name), ModuleType)]
        if found and (managers or _TRANSPORT in sys.modules):
            from openai_meter.instrumentation.websockets import patch  # noqa: PLC0415 - most programs open none

            patch.patch(found, self.patches, managers=managers, connections=_TRANSPORT in sys.modules)


def is_client(client: object) -> bool:
    """Whether something is a client of the openai package, also of one that has been loaded anew since."""
    return any(
        base.__module__ == BASE_CLIENT and base.__name__ in ("SyncAPIClient", "AsyncAPIClient")
        for base in type(client).__mro__
    )


patcher = Patcher()
registry.apply_patches = patcher.apply
