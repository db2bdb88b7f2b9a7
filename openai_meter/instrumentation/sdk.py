"""The names of the openai package that the meter uses, whichever version is there, and a way to copy its options."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple, cast

__all__ = ["RAW_HEADER", "Parser", "Sdk", "copier", "decodes_embeddings", "embeddings_in"]

Parser = Callable[[Any], Any]
"""The function that the SDK calls with an answer."""
RAW_HEADER = "x-stainless-raw-response"
"""The header by which the SDK's raw variants say that they parse the answer later, if at all. Its value is ``true``
for ``with_raw_response`` and ``stream`` for ``with_streaming_response``."""
_BASE_CLIENT_FILE = os.path.join("openai", "_base_client.py")
_EMBEDDINGS_FILES = (
    os.path.join("openai", "resources", "embeddings.py"),
    os.path.join("openai", "lib", "_parsing", "_embeddings.py"),
)
_EMBEDDINGS_PARSERS = frozenset({"parser", "parse_embedding_response"})
"""The names of the SDK's parser of embeddings, in its versions."""


class Sdk(NamedTuple):
    """The classes and functions of one openai package. A package that is loaded anew has others."""

    sync_client: type[Any]
    async_client: type[Any]
    streams: tuple[type[Any], type[Any]]
    """``Stream`` and ``AsyncStream``."""
    raw: tuple[type[Any], ...]
    binary: type[Any]
    unread: tuple[type[Any], ...]
    """The types that ``request`` may return without running a parser: raw answers, and those of the HTTP library."""
    copy_options: Callable[[Any, Parser], Any]
    own: tuple[object, ...]
    """The SDK's own ``request`` functions, where they were not patched when the package was first seen."""
    not_given: type[Any] | None = None
    """The class of what stands for headers that were not given."""
    wrappers: tuple[Any, Any] = (None, None)
    """The wrappers of ``request`` for the two client trees."""

    @classmethod
    def of(cls, base: ModuleType) -> Sdk | None:
        """Finds the names in a base client module; ``None`` for a stub in its place, and for a module half loaded."""
        names = getattr(base, "__dict__", {})
        try:
            legacy = names["LegacyAPIResponse"]
            raw = (legacy, names["BaseAPIResponse"])
            http = names.get("httpx2") or names["httpx"]
            sync_client, async_client = names["SyncAPIClient"], names["AsyncAPIClient"]
            return cls(
                sync_client=sync_client,
                async_client=async_client,
                streams=(names["Stream"], names["AsyncStream"]),
                raw=raw,
                binary=_globals(legacy.parse)["HttpxBinaryResponseContent"],
                unread=(*raw, http.Response),
                copy_options=copier(names["FinalRequestOptions"], names["model_copy"]),
                own=tuple(filter(_is_own, (vars(sync_client)["request"], vars(async_client)["request"]))),
                not_given=names.get("NotGiven"),
            )
        except (KeyError, AttributeError, TypeError):
            return None

    def is_of(self, base: ModuleType) -> bool:
        """Whether these are the names of a base client module."""
        return vars(base).get("SyncAPIClient") is self.sync_client

    def parses_itself(self, wrapped: Callable[..., Any], headers: object) -> bool:
        """Whether ``wrapped`` is the SDK's own ``request``, and returns what a parser would be given."""
        # A wrapper of another library has the attributes of what it wraps: only a method itself has its own class.
        if type(wrapped) is not MethodType or wrapped.__func__ not in self.own:
            return False
        if type(headers) is self.not_given:  # its truth is a function of Python's
            return True
        return not headers or RAW_HEADER not in map(str.lower, cast("Mapping[str, str]", headers))


def _globals(function: Any) -> dict[str, Any]:
    """The names of the module that a function was defined in, also after that module was loaded anew."""
    found: dict[str, Any] = getattr(function, "__globals__", None) or vars(sys.modules[function.__module__])
    return found


def _is_own(request: object) -> bool:
    """Whether a function is the SDK's, and not a wrapper, which may copy its name and module."""
    code = getattr(request, "__code__", None) if type(request) is FunctionType else None
    return code is not None and code.co_filename.endswith(_BASE_CLIENT_FILE)


def decodes_embeddings(parser: object) -> bool:
    """Whether a parser is the SDK's own for embeddings, which decodes the vectors in an answer and returns it."""
    function = parser.func if type(parser) is partial else parser
    return type(function) is FunctionType and _is_embeddings_parser(function.__code__)


def embeddings_in(error: BaseException) -> Any:
    """The answer that the SDK's parser of embeddings has raised this error for; ``None`` if it did not raise it."""
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if _is_embeddings_parser(frame.f_code):
            return frame.f_locals.get("obj")
        traceback = traceback.tb_next
    return None


def _is_embeddings_parser(code: CodeType) -> bool:
    return code.co_name in _EMBEDDINGS_PARSERS and code.co_filename.endswith(_EMBEDDINGS_FILES)


def copier(kind: type[Any], model_copy: Callable[[Any], Any]) -> Callable[[Any, Parser], Any]:
    """Makes a function that copies request options and puts a parser into the copy; quickly for pydantic 2."""
    slots = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
    has_fields_only = all(hasattr(kind, name) for name in slots) and not getattr(kind, "__private_attributes__", None)
    put = object.__setattr__

    def copy(options: Any, parser: Parser) -> Any:
        if has_fields_only and type(options) is kind and options.__pydantic_private__ is None:
            # The same result as pydantic's own copying and setting for such a model, in a third of the time.
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
