"""What is needed of the openai package, whichever version is there: its classes, and a way to copy its options."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

__all__ = ["Parser", "Sdk", "copier"]

Parser = Callable[[Any], Any]
"""What the SDK calls with an answer."""
_BASE_CLIENT_FILE = os.path.join("openai", "_base_client.py")
_RAW = "x-stainless-raw-response"
"""The header by which the SDK's raw variants say that they parse the answer later, if at all."""


class Sdk(NamedTuple):
    """What is needed of the openai package, of whichever version is there."""

    sync_client: type[Any]
    async_client: type[Any]
    streams: tuple[type[Any], ...]
    raw: tuple[type[Any], ...]
    binary: type[Any]
    unread: tuple[type[Any], ...]
    """What ``request`` may return without having run a parser: raw answers, and those of the HTTP library."""
    copy_options: Callable[[Any, Parser], Any]
    own: tuple[object, ...]
    """The SDK's own ``request`` functions, where they stood untouched when the SDK was first seen."""

    @classmethod
    def of(cls, base: ModuleType) -> Sdk:
        """What there is in the package of this base client."""
        # openai is being imported or has been: its base client was seen, and that has imported all of these.
        from openai._compat import model_copy  # noqa: PLC0415
        from openai._legacy_response import HttpxBinaryResponseContent, LegacyAPIResponse  # noqa: PLC0415
        from openai._models import FinalRequestOptions  # noqa: PLC0415
        from openai._response import BaseAPIResponse  # noqa: PLC0415
        from openai._streaming import AsyncStream, Stream  # noqa: PLC0415

        raw = (LegacyAPIResponse, BaseAPIResponse)
        http = getattr(base, "httpx2", None) or base.httpx
        return cls(
            sync_client=base.SyncAPIClient,
            async_client=base.AsyncAPIClient,
            streams=(Stream, AsyncStream),
            raw=raw,
            binary=HttpxBinaryResponseContent,
            unread=(*raw, http.Response),
            copy_options=copier(FinalRequestOptions, model_copy),
            own=tuple(filter(_is_own, (vars(base.SyncAPIClient)["request"], vars(base.AsyncAPIClient)["request"]))),
        )

    def answers_with(self, wrapped: Callable[..., Any], headers: object) -> bool:
        """Whether ``wrapped`` is the SDK's own function, and will return the answer as a parser would be given it."""
        # Somebody's wrapper gives out the attributes of what it wraps: only a method itself says whose it is.
        if type(wrapped) is not MethodType or wrapped.__func__ not in self.own:
            return False
        return not headers or _RAW not in map(str.lower, cast("Mapping[str, str]", headers))


def _is_own(request: object) -> bool:
    """Whether a function is the SDK's, and not somebody's wrapper, which may say that it is."""
    code = getattr(request, "__code__", None) if type(request) is FunctionType else None
    return code is not None and code.co_filename.endswith(_BASE_CLIENT_FILE)


def copier(kind: type[Any], model_copy: Callable[[Any], Any]) -> Callable[[Any, Parser], Any]:
    """What copies request options and puts a parser into the copy: one of pydantic 2 in the quickest way."""
    slots = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    has_fields_only = all(hasattr(kind, name) for name in slots) and not getattr(kind, "__private_attributes__", None)
    put = object.__setattr__

    def copy(options: Any, parser: Parser) -> Any:
        if has_fields_only and type(options) is kind and options.__pydantic_private__ is None:
            # What pydantic's own copying and setting come to for such a model, in a third of the time.
            twin = object.__new__(kind)
            put(twin, "__dict__", {**options.__dict__, "post_parser": parser})
            put(twin, "__pydantic_fields_set__", {*options.__pydantic_fields_set__, "post_parser"})
            put(twin, "__pydantic_extra__", options.__pydantic_extra__ and {**options.__pydantic_extra__})
            put(twin, "__pydantic_private__", None)
        else:
            twin = model_copy(options)
            twin.post_parser = parser
        return twin

    return copy
