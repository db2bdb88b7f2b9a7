"""Which other libraries have wrapped functions of the SDK, and whether they emit the same tokens a second time.

Patches are found in the classes of the SDK that are loaded; installed libraries in the metadata of packages, which are
not imported. To add a library, add a row to :data:`LIBRARIES`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from openai_meter.core.patching import tree
from openai_meter.instrumentation.listening import registry
from openai_meter.instrumentation.patching import BASE_CLIENT

__all__ = ["LIBRARIES", "Library", "Patch", "bypassed", "find_patches", "installed_libraries", "library_of"]


class Library(NamedTuple):
    """One row of :data:`LIBRARIES`."""

    distribution: str
    module: str
    """What the names of its modules begin with."""
    emits: bool
    """Whether it sends tokens as OpenTelemetry metrics or spans, under the names that we use too."""


LIBRARIES: tuple[Library, ...] = (
    Library("opentelemetry-instrumentation-openai-v2", "opentelemetry.instrumentation.openai_v2", emits=True),
    Library("opentelemetry-instrumentation-openai", "opentelemetry.instrumentation.openai", emits=True),
    Library("openinference-instrumentation-openai", "openinference.instrumentation.openai", emits=False),
    Library("traceloop-sdk", "traceloop", emits=True),
    Library("openlit", "openlit", emits=True),
    Library("logfire", "logfire", emits=True),
    Library("ddtrace", "ddtrace", emits=False),
    Library("langfuse", "langfuse", emits=False),
    Library("langsmith", "langsmith", emits=False),
    Library("sentry-sdk", "sentry_sdk", emits=False),
    Library("mlflow", "mlflow", emits=False),
    Library("weave", "weave", emits=False),
    Library("agentops", "agentops", emits=True),
    Library("posthog", "posthog", emits=False),
    Library("braintrust", "braintrust", emits=False),
    Library("newrelic", "newrelic", emits=False),
)

_HARMLESS = frozenset({"openai", "openai_meter", "typing_extensions", "pydantic", "pydantic_core"}) | (
    sys.stdlib_module_names - {"unittest"}
)
"""The packages whose functions in classes of the SDK are no patches. The standard library makes methods of its own for
dataclasses, named tuples and deprecated functions, other ones in each version of Python."""


class Patch(NamedTuple):
    """A function of the SDK that another library has wrapped."""

    place: str
    """``Completions.create``."""
    owner: str
    """The module of the wrapper."""


def find_patches() -> tuple[Patch, ...]:
    """All patches by others in the SDK, as far as it is loaded. Never raises; takes some hundredths of a second."""
    return tuple(_patches()) if "openai" in sys.modules else ()


def _patches() -> Iterator[Patch]:
    for kind in sorted(_classes(), key=lambda kind: kind.__qualname__):
        for name, value in list(vars(kind).items()):
            if callable(value) and (owner := _foreign(value)) is not None:
                yield Patch(f"{kind.__qualname__}.{name}", owner)


def _classes() -> set[type[Any]]:
    """The classes of resources, clients and streams."""
    found = set()
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith(("openai.resources.", "openai._base_client", "openai._client", "openai._streaming")):
            for value in list(vars(module).values()):
                if isinstance(value, type) and str(value.__module__).startswith("openai."):
                    found.add(value)
    return found


def _foreign(function: Any) -> str | None:
    """The module of the outermost wrapper of a method that is neither the SDK's nor ours."""
    for _ in range(100):
        owner = _owner(function)
        if owner is not None and owner.partition(".")[0] not in _HARMLESS:
            return owner
        function = getattr(function, "__wrapped__", None)
        if function is None:
            return None
    return None


def _owner(function: Any) -> str | None:
    """Where a function was written; ``functools.wraps`` changes its name and module, but not its globals."""
    wrapper = getattr(function, "_self_wrapper", None)  # a wrapper of wrapt, which has the attributes of what it wraps
    if wrapper is not None:
        function = getattr(wrapper, "__func__", wrapper)
    names = getattr(function, "__globals__", None)
    owner = names.get("__name__") if isinstance(names, dict) else None
    if owner is None and wrapper is not None:
        owner = getattr(type(wrapper), "__module__", None)
    return owner if isinstance(owner, str) else None


def bypassed() -> tuple[str, ...]:
    """The methods of clients that have been replaced since the meter was installed.

    Some libraries, when they are uninstalled, restore the function that they found when they were installed.
    """
    base = sys.modules.get(BASE_CLIENT)
    if registry.installed is None or base is None:
        return ()
    kinds = [*tree(base.SyncAPIClient), *tree(base.AsyncAPIClient)]
    return tuple(
        f"{kind.__qualname__}.request"
        for kind in kinds
        if "request" in vars(kind) and not _calls_ours(vars(kind)["request"])
    )


def _calls_ours(function: Any) -> bool:
    for _ in range(100):
        wrapper = getattr(function, "_self_wrapper", None)
        if str(getattr(wrapper, "__module__", "")).startswith("openai_meter."):
            return True
        below = getattr(function, "__wrapped__", None)
        if below is None:
            # A plain function without __wrapped__ may still call ours.
            return _owner(function) is None or not f"{_owner(function)}.".startswith("openai.")
        function = below
    return True


def library_of(module: str) -> Library | None:
    """The library of a module; ``None`` if it is not in the table."""
    return next((row for row in LIBRARIES if f"{module}.".startswith((f"{row.module}.",))), None)


def installed_libraries() -> dict[str, str]:
    """The versions of those of :data:`LIBRARIES` that are installed."""
    found = {}
    for row in LIBRARIES:
        try:
            found[row.distribution] = version(row.distribution)
        except PackageNotFoundError:
            continue
    return found
