"""The copy of request options, which is made without the SDK's help where that is safe."""

from __future__ import annotations

from typing import Any

import pytest
from openai._compat import model_copy
from openai._models import FinalRequestOptions

from openai_meter.instrumentation import http, sdk


def copied(options: Any, parser: Any) -> Any:
    """The copy that the seam makes."""
    return sdk.copier(FinalRequestOptions, model_copy)(options, parser)


@pytest.mark.parametrize(
    "said",
    [{}, {"json_data": {"model": "m"}, "headers": {"x": "1"}, "extra_json": {"a": 1}}, {"post_parser": print}],
    ids=["bare", "full", "with a parser"],
)
def test_a_copy_is_that_of_the_sdk_with_another_parser(said: dict[str, Any]) -> None:
    """All fields are those of the SDK's own copy, the set ones are known as set, and the original stays as it was."""
    options = FinalRequestOptions.construct(method="post", url="/chat/completions", **said)
    before = (dict(vars(options)), set(options.__pydantic_fields_set__))
    parser = http.RequestContext(None, None, None)  # type: ignore[arg-type]
    expected = model_copy(options)
    expected.post_parser = parser
    found = copied(options, parser)
    assert type(found) is FinalRequestOptions
    assert vars(found) == vars(expected)
    assert found.__pydantic_fields_set__ == expected.__pydantic_fields_set__
    assert found == expected
    found.url = "/responses"
    assert (vars(options), options.__pydantic_fields_set__) == before


def test_options_of_another_class_are_copied_by_the_sdk() -> None:
    """What is derived from the SDK's class may hold more than fields: its own way of copying is used."""
    made: list[object] = []

    class Options(FinalRequestOptions):  # type: ignore[misc]
        def model_copy(self, **_: Any) -> Any:
            made.append(self)
            return super().model_copy()

    options = Options.construct(method="post", url="/chat/completions")
    found = sdk.copier(FinalRequestOptions, lambda one: one.model_copy())(options, print)  # type: ignore[arg-type]
    assert (made, type(found), found.post_parser) == ([options], Options, print)
