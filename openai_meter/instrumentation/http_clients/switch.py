"""The setting ``http``: which HTTP libraries are patched now.

``True`` watches every library of :data:`~openai_meter.instrumentation.http_clients.libraries.METHODS` that the program
has imported, or imports later. ``"auto"`` does so from the moment that one of ``TRIGGERS`` is imported. ``False``
watches none.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Literal

from openai_meter.core import faults, settings
from openai_meter.core.import_hooks import after_import
from openai_meter.core.patching import Patches
from openai_meter.errors import ConfigurationError
from openai_meter.instrumentation.http_clients.libraries import METHODS, TRIGGERS, Method
from openai_meter.instrumentation.listening import registry
from openai_meter.instrumentation.seams import Seams

__all__ = ["HttpMode", "HttpSwitch", "checked_mode"]

HttpMode = Literal["auto"] | bool


def checked_mode(mode: object) -> HttpMode:
    """The same mode.

    Raises:
        ConfigurationError: it is not one.
    """
    if mode is True or mode is False or mode == "auto":
        return mode
    raise ConfigurationError(f"http={mode!r} is not True, False or 'auto'; leave it out for 'auto'")


class HttpSwitch:
    """Patches the HTTP libraries that the setting asks for. One for the process; callers hold the registry's lock."""

    def __init__(self) -> None:
        self.mode: HttpMode | None = None
        """``None`` until it is set: then that of the environment counts."""
        self._patches = Patches()

    @property
    def watches(self) -> bool:
        """Whether HTTP libraries are watched now."""
        return Seams.http

    def apply(self) -> None:
        """Updates the patches for the setting, the listeners and the imported libraries."""
        mode = self._mode() if registry.wants_http else False
        if mode == "auto":
            self._register_hooks(TRIGGERS)
        wanted = mode is True or (mode == "auto" and any(name in sys.modules for name in TRIGGERS))
        if not wanted:
            Seams.http = False
            self._patches.undo()
            return
        self._register_hooks([method.module for method in METHODS])
        Seams.http = True  # first, so that a request of the SDK is marked from now on
        for method in METHODS:
            if method.by_itself or mode is True:
                self._patch(method)

    def _mode(self) -> HttpMode:
        if self.mode is None:
            try:
                self.mode = checked_mode(settings.get("http"))
            except ConfigurationError as error:  # a block is entered; install() would have raised the error
                faults.caught(error, "reading the setting http of the environment")
                self.mode = "auto"
        return self.mode

    def _register_hooks(self, names: tuple[str, ...] | list[str]) -> None:
        for name in names:
            after_import(name, self._on_import)

    def _on_import(self, _: ModuleType) -> None:
        with registry.lock:
            if registry.wants_http:
                try:
                    self.apply()
                except Exception as error:
                    faults.caught(error, "patching an HTTP library")

    def _patch(self, method: Method) -> None:
        owner = getattr(sys.modules.get(method.module), method.owner, None)
        if isinstance(owner, type):
            self._patches.add(owner, method.name, method.load_wrapper())
