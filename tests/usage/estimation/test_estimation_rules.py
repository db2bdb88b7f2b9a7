"""The rules of counting, each with numbers that can be worked out by hand: here one character is one token."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest

from openai_meter.core.usage import Usage
from openai_meter.usage.estimation import Estimate, Output, encodings, estimate_call, ratio_tokens
from openai_meter.usage.estimation.families import Patches, Tiles, traits
from openai_meter.usage.estimation.images import image_size, image_tokens
from openai_meter.usage.estimation.tools import Function, render


class Letters:
    """An encoding in which each character is a token."""

    def encode_ordinary(self, text: str) -> list[int]:
        return [0] * len(text)


@pytest.fixture(autouse=True)
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "encoding", lambda name: Letters())


def tokens_in(endpoint: str = "chat.completions", model: str = "gpt-4o", **body: object) -> int | None:
    return estimate_call(endpoint, body, None, model).usage.input_tokens


def tokens_out(spoken: list[Output], endpoint: str = "chat.completions", model: str = "gpt-4o", **body) -> int | None:
    return estimate_call(endpoint, body, spoken, model).usage.output_tokens


def message(text: str, role: str = "user", **more: object) -> dict:
    return {"role": role, "content": text, **more}


@pytest.mark.parametrize(
    ("model", "family", "encoding"),
    [
        ("gpt-4o-mini-2024-07-18", "L", "o200k_base"),
        ("chatgpt-4o-latest", "L", "o200k_base"),
        ("gpt-4.1", "L", "o200k_base"),
        ("gpt-4.5-preview", "L", "o200k_base"),
        ("gpt-4", "L", "cl100k_base"),
        ("gpt-4-0613", "L", "cl100k_base"),
        ("gpt-4-turbo", "L", "cl100k_base"),
        ("gpt-3.5-turbo", "L", "cl100k_base"),
        ("gpt-35-turbo", "L", "cl100k_base"),
        ("text-embedding-3-small", "L", "cl100k_base"),
        ("gpt-5-chat-latest", "L", "o200k_base"),
        ("gpt-5", "H", "o200k_base"),
        ("gpt-5.6-luna", "H", "o200k_base"),
        ("gpt-6-sol", "H", "o200k_base"),
        ("o3-mini", "O", "o200k_base"),
        ("o1", "O", "o200k_base"),
        ("ft:gpt-3.5-turbo-0125:acme::id", "L", "cl100k_base"),
        ("openai/gpt-5-mini", "H", "o200k_base"),
        ("GPT-4O", "L", "o200k_base"),
        ("mistral-large", "L", "o200k_base"),
        ("", "L", "o200k_base"),
        (None, "L", "o200k_base"),
    ],
)
def test_model_name_gives_family_and_encoding(model: str | None, family: str, encoding: str) -> None:
    """Also fine-tuned, on Azure, or through a host."""
    assert traits(model)[:2] == (family, encoding)


@pytest.mark.parametrize(
    ("model", "expected"),
    # 3 + (4 + 3) + (4 + 5) + (4 + 2): primer, and a frame of 4 around each text
    [("gpt-4o", 25), ("gpt-4", 25), ("o3", 24), ("gpt-5", 24 + 2), ("gpt-3.5-turbo-0301", 25 + 3)],
)
def test_message_costs_its_frame_and_text(model: str, expected: int) -> None:
    """A message is 4 and its text, whatever its role; the primer is 3, or 2 for models that reason."""
    messages = [message("sys", "system"), message("hello", "user"), message("ok", "assistant")]
    assert tokens_in(model=model, messages=messages) == expected


def test_parts_of_a_message_are_counted_as_one_text() -> None:
    """A name is 1 more; an empty content leaves the frame; a refusal is counted as the text."""
    parts = [{"type": "text", "text": "ab"}, {"type": "text", "text": "cd"}]
    assert tokens_in(messages=[{"role": "user", "content": parts}]) == 3 + 4 + 4
    assert tokens_in(messages=[message("hi", name="bob")]) == 3 + 4 + 2 + 1 + 3
    assert tokens_in(messages=[message("")]) == tokens_in(messages=[{"role": "user", "content": None}]) == 7
    assert tokens_in(messages=[{"role": "assistant", "content": None, "refusal": "no"}]) == 9


def test_responses_count_as_messages() -> None:
    """A string is one user message, instructions are a system message in front, items are messages."""
    assert tokens_in("responses", input="hello") == 3 + 4 + 5
    assert tokens_in("responses", input="hello", instructions="be") == 3 + 4 + 5 + 4 + 2
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}], "id": "x"}]
    assert tokens_in("responses", input=items) == 12
    assert tokens_in("responses", "gpt-4-0613", input="hello") == 11


WEATHER = {
    "name": "weather",
    "description": "  The weather.\n\nToday.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where"},
            "unit": {"enum": ["C", "F"], "default": "C"},
            "days": {"type": "integer", "minimum": 1, "title": "Days"},
        },
        "required": ["city"],
    },
}
SHOWN = """# Tools

## functions

namespace functions {

// The weather.
// Today.
type weather = (_: {
// Where
city: string,
unit?: "C" | "F", // default: "C"
// Days
// minimum: 1
days?: number,
}) => any;

} // namespace functions"""


def function(**properties: object) -> str:
    """The type of a function with these properties, all of them required."""
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return render([Function("f", "", parameters)], strip=True).split("\n")[6:-2]


def one_line(schema: dict, **more: object) -> str:
    """How a property of this schema is written."""
    rows = function(a=schema)
    return "\n".join(rows).removeprefix("type f = (_: { a: ").removesuffix(" }) => any;")


def test_function_tool_is_rendered_as_a_type() -> None:
    """With its comments, types, constraints and defaults."""
    shown = Function(WEATHER["name"], WEATHER["description"], WEATHER["parameters"])
    assert render([shown], strip=True) == SHOWN
    assert "//   The weather." in render([shown], strip=False)
    old = render([shown], strip=True, old=True)
    assert "Days" not in old
    assert "default" not in old


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer"}, "number"),
        ({"type": "null"}, "null"),
        ({}, "any"),
        ({"type": "date"}, "any"),
        ({"const": 3}, "3"),
        ({"enum": ["é", 1, None]}, '"é" | 1 | null'),
        ({"type": ["string", "null"]}, "string | null"),
        ({"anyOf": [{"type": "string"}, {"type": "boolean"}]}, "string | boolean"),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, "string | number"),
        ({"allOf": [{"type": "number"}]}, "number"),
        ({"type": "array", "items": {"type": "integer"}}, "number[]"),
        ({"type": "array"}, "any[]"),
        ({"type": "array", "items": {}}, "any[]"),
        ({"type": "object"}, "object"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "{ [k: string]: number }"),
        ({"type": "object", "additionalProperties": True}, "{ [k: string]: any }"),
        ({"type": "object", "additionalProperties": {}}, "object"),
        ({"type": "object", "properties": {"b": {"type": "string"}}}, "{ b?: string }"),
    ],
)
def test_each_schema_is_rendered_as_its_type(schema: dict, shown: str) -> None:
    """Without comments an object is on one line."""
    assert one_line(schema) == shown


def test_references_are_inlined() -> None:
    """A reference is replaced by its definition, whose description becomes the comment; a recursive one is
    truncated."""
    node = {"type": "object", "description": "A node", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    schema = {"type": "object", "properties": {"root": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": node}}
    shown = render([Function("f", "", schema)], strip=True)
    assert "// A node\nroot?: {\n// A node\nnext?: any,\n},\n}" in shown
    assert "() => any" in render([Function("f", "", {"$ref": "#/nowhere"})], strip=True)
    around = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}}
    assert "() => any" in render([Function("f", "", around)], strip=True)


def test_array_items_with_a_description_are_rendered_on_their_own_lines() -> None:
    """An array whose items have a title or description is written on lines of its own."""
    items = {"type": "string", "description": "One"}
    assert function(a={"type": "array", "items": items})[1:-1] == ["a: Array<", "// One", "string", ">,"]


@pytest.mark.parametrize(
    ("endpoint", "model", "system", "beside"),
    [
        ("chat.completions", "gpt-4o", False, 3),
        ("chat.completions", "gpt-4o", True, 2 - 1),  # two line ends between them, less one
        ("chat.completions", "o3", False, 4),
        ("chat.completions", "o3", True, 7),
        ("responses", "gpt-4o", False, -3),
        ("responses", "gpt-4o", True, -3),
        ("responses", "gpt-5", False, 3),
        ("responses", "o3", False, 0),
    ],
)
def test_tools_cost_their_text_and_a_frame(endpoint: str, model: str, system: bool, beside: int) -> None:
    """The frame depends on endpoint, family and system message."""
    nested = endpoint == "chat.completions"
    tool = {"type": "function", **({"function": WEATHER} if nested else WEATHER)}
    messages = [message("sys", "system")] * system + [message("hi")]
    body = {"messages" if nested else "input": messages}
    shown = len(SHOWN) + (0 if model == "gpt-4o" else 2)  # the blanks of the description's first line
    alone = tokens_in(endpoint, model, **body)
    assert tokens_in(endpoint, model, tools=[tool], **body) - alone == shown + beside


def test_tools_of_reasoning_chats_have_their_own_frame() -> None:
    """In chats of family H tools cost a frame of 85, and 1 less without a description."""
    tool = {"function": {"name": "f", "parameters": {}}}
    shown = len(render([Function("f", "", {})], strip=False))
    alone = tokens_in(model="gpt-5", messages=[message("hi")])
    assert tokens_in(model="gpt-5", messages=[message("hi")], tools=[tool]) == alone + shown + 85 - 1


@pytest.mark.parametrize(
    ("endpoint", "choice", "more"),
    [
        ("chat.completions", "auto", 0),
        ("chat.completions", "none", 1),
        ("chat.completions", "required", 0),
        ("chat.completions", {"type": "function", "function": {"name": "weather"}}, 7 + 7),
        ("responses", "required", 9),
        ("responses", {"type": "function", "name": "weather"}, 7 + 7),
    ],
)
def test_tool_choice_costs_tokens_in_family_l(endpoint: str, choice: object, more: int) -> None:
    """In family L; for models that reason it costs nothing."""
    nested = endpoint == "chat.completions"
    body = {
        "messages" if nested else "input": [message("hi")],
        "tools": [{"type": "function", **({"function": WEATHER} if nested else WEATHER)}],
    }
    assert tokens_in(endpoint, **body, tool_choice=choice) - tokens_in(endpoint, **body) == more
    heavy = {"endpoint": endpoint, "model": "gpt-5", **body}
    assert tokens_in(**heavy, tool_choice=choice) == tokens_in(**heavy)


def test_legacy_functions_count_as_tools() -> None:
    """``functions`` and ``function_call`` count as ``tools`` and ``tool_choice``."""
    new = {"tools": [{"type": "function", "function": WEATHER}], "tool_choice": "none"}
    assert tokens_in(messages=[message("hi")], functions=[WEATHER], function_call="none") == tokens_in(
        messages=[message("hi")], **new
    )


def call(name: str, arguments: str, call_id: str = "1") -> dict:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(("model", "frame"), [("gpt-4o", 3 + 10), ("gpt-5", 2 + 16)])
def test_one_call_in_the_history_costs_name_and_arguments(model: str, frame: int) -> None:
    """The arguments are compact; the result has the name in the place of a role."""
    request = {"role": "assistant", "content": "so", "tool_calls": [call("add", '{"a": 1}')]}
    result = {"role": "tool", "tool_call_id": "1", "content": "two"}
    assert tokens_in(model=model, messages=[request]) == frame + 2 + 3 + len('{"a":1}')
    both = tokens_in(model=model, messages=[request, result])
    assert both - tokens_in(model=model, messages=[request]) == 3 + 3 + 3


@pytest.mark.parametrize(("model", "frame"), [("gpt-4o", 3 + 16), ("gpt-5", 2 + 22)])
def test_parallel_calls_in_the_history_are_wrapped(model: str, frame: int) -> None:
    """Their results are one JSON list."""
    request = {"role": "assistant", "content": None, "tool_calls": [call("a", "{}", "1"), call("b", '{"x": 1}', "2")]}
    results = [{"role": "tool", "tool_call_id": n, "content": 'a"b'} for n in "12"]
    wrapped = (
        '{"tool_uses":[{"recipient_name":"functions.a","parameters":{}},'
        '{"recipient_name":"functions.b","parameters":{"x":1}}]}'
    )
    assert tokens_in(model=model, messages=[request]) == frame + len(wrapped)
    both = tokens_in(model=model, messages=[request, *results])
    assert both - tokens_in(model=model, messages=[request]) == 4 + len('["a\\"b", "a\\"b"]')


def test_calls_of_responses_are_counted_one_by_one() -> None:
    """In responses each call is counted alone, with its id; models of family H count parallel calls as one."""
    items = [{"type": "function_call", "call_id": n, "name": "f", "arguments": "{}"} for n in "12"]
    named = [{**item, "id": "fc"} for item in items]
    results = [{"type": "function_call_output", "call_id": n, "output": "ok"} for n in "12"]
    assert tokens_in("responses", input=items) == 3 + 2 * (10 - 2 + 3)
    assert tokens_in("responses", input=named) == 3 + 2 * (10 + 1 + 3)
    assert tokens_in("responses", input=[*items, *results]) == 3 + 2 * (10 - 2 + 3) + 2 * (3 + 2 + 1)
    assert tokens_in("responses", "gpt-5", input=items[:1]) == 2 + 16 + 1 + 3
    wrapped = len('{"tool_uses":[%s]}') - 2 + 2 * len('{"recipient_name":"functions.f","parameters":{}}') + 1
    assert tokens_in("responses", "gpt-5", input=items) == 2 + 26 + wrapped
    assert tokens_in("responses", "gpt-5", input=[*items, *results]) == 2 + 26 + wrapped + 4 + len('["ok", "ok"]')


SCHEMA = {
    "$schema": "x",
    "type": "object",
    "properties": {"required": {"type": "string"}, "b": {"type": "object", "additionalProperties": False}},
    "required": ["required"],
    "additionalProperties": False,
}
SEEN = (
    "# Response Formats\n\n## Out\n\n"
    '{"type":"object","properties":{"required":{"type":"string"},"b":{"type":"object"}}}'
)


@pytest.mark.parametrize(
    ("model", "chat", "chat_with_system", "responses"),
    [("gpt-4o", 6 + 3, 2 + 3, 1), ("gpt-5", 2 + 3, 2 + 3, 0)],
)
def test_schema_of_structured_output_costs_its_text(
    model: str, chat: int, chat_with_system: int, responses: int
) -> None:
    """Without the fields that only the server needs; a chat has the name twice."""
    inner = {"name": "Out", "schema": SCHEMA, "strict": True}
    form = {"response_format": {"type": "json_schema", "json_schema": inner}}
    for messages, frame in (([message("hi")], chat), ([message("sys", "system"), message("hi")], chat_with_system)):
        alone = tokens_in(model=model, messages=messages)
        assert tokens_in(model=model, messages=messages, **form) - alone == len(SEEN) + frame
    alone = tokens_in("responses", model, input="hi")
    text = {"format": {"type": "json_schema", **inner}}
    assert tokens_in("responses", model, input="hi", text=text) - alone == len(SEEN) + responses
    described = {"format": {"type": "json_schema", **inner, "description": "An answer"}}
    assert tokens_in("responses", model, input="hi", text=described) - alone == len(SEEN) + responses + 13


def test_json_object_and_sampling_settings_are_free() -> None:
    """``json_object``, ``text`` and settings of sampling cost nothing."""
    free = {"response_format": {"type": "json_object"}, "temperature": 1, "stop": ["x"], "seed": 3, "max_tokens": 9}
    assert tokens_in(messages=[message("hi")], **free) == tokens_in(messages=[message("hi")])


# --- images -----------------------------------------------------------------------------------------------------------


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def png(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def jpeg(width: int, height: int) -> bytes:
    preview = b"\xff\xe1" + struct.pack(">H", 2 + 5000) + b"\xff\xd8\xff\xc0" + bytes(4996)
    frame = b"\xff\xff\xc2" + struct.pack(">HBHH", 17, 8, height, width) + bytes(10)
    return b"\xff\xd8" + preview + frame


def webp(kind: bytes, rest: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 100) + b"WEBP" + kind + struct.pack("<I", 80) + rest


IMAGES = {
    "png": png(640, 480),
    "gif": b"GIF89a" + struct.pack("<HH", 640, 480) + bytes(20),
    "jpeg": jpeg(640, 480),
    "webp": webp(b"VP8 ", bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 640, 480) + bytes(9)),
    "webp lossless": webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14) + bytes(9)),
    "webp extended": webp(b"VP8X", bytes(4) + (639).to_bytes(3, "little") + (479).to_bytes(3, "little") + bytes(9)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_size_is_read_from_its_header(name: str) -> None:
    """Whatever kind of image the URL names."""
    assert image_size(data_url(IMAGES[name])) == (640, 480)
    assert image_size(data_url(IMAGES[name], "png")) == (640, 480)


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("length", [0, 3, 9, 13, 21, 27, 5010])
def test_truncated_image_has_an_unknown_size(name: str, length: int) -> None:
    """It is not an error."""
    cut = IMAGES[name][:length]
    assert image_size(data_url(cut)) in {None, (640, 480)}
    assert image_size(data_url(png(0, 9))) is None


@pytest.mark.parametrize("url", ["", "https://x/y.png", "data:", "data:image/png;base64,", "data:,é", "data:,!!!!!"])
def test_image_url_is_never_fetched(url: str) -> None:
    """A URL without image data has no size."""
    assert image_size(url) is None


@pytest.mark.parametrize(
    ("rule", "size", "detail", "tokens"),
    [
        (Tiles(85, 170), (512, 512), "high", 85 + 170),
        (Tiles(85, 170), (1024, 1024), None, 85 + 4 * 170),  # shrunk to 768 x 768
        (Tiles(85, 170), (2048, 4096), "auto", 85 + 6 * 170),  # 1024 x 2048, then 768 x 1536
        (Tiles(85, 170), (1, 1), "high", 85 + 170),
        (Tiles(85, 170), (4096, 8192), "low", 85),
        (Tiles(2833, 5667), (640, 480), "high", 2833 + 2 * 5667),
        (Tiles(70, 140), (640, 480), "high", 70 + 2 * 140),
        (Patches(1.62), (640, 480), "high", 487 + 1),  # 300 x 1.62 is a little more than 486 in binary
        (Patches(1.2), (1, 1), "high", 3),
        (Patches(1.0), (10_000, 10_000), "high", 1521 + 1),  # 39 x 39, the largest square below 1,536
    ],
)
def test_image_costs_tiles_or_patches_by_its_size(
    rule: Tiles | Patches, size: tuple[int, int], detail: str, tokens: int
) -> None:
    """Tiles of 512 pixels after shrinking, or patches of 32 pixels up to a maximum."""
    assert image_tokens(rule, size, detail) == tokens


@pytest.mark.parametrize(
    ("model", "rule"),
    [
        ("gpt-4o", Tiles(85, 170)),
        ("gpt-4o-mini", Tiles(2833, 5667)),
        ("gpt-4.1", Tiles(85, 170)),
        ("gpt-4.1-mini", Patches(1.62)),
        ("gpt-4.1-nano-2025-04-14", Patches(2.46)),
        ("gpt-5", Tiles(70, 140)),
        ("gpt-5-2025-08-07", Tiles(70, 140)),
        ("gpt-5-mini", Patches(1.2)),
        ("gpt-5-nano", Patches(1.5)),
        ("gpt-5.1", Tiles(70, 140)),
        ("gpt-5.4-mini", Patches(1.2)),
        ("gpt-6", Patches(1.2)),
        ("o4-mini", Patches(1.72)),
        ("o3", Tiles(75, 150)),
        ("computer-use-preview", Tiles(65, 129)),
    ],
)
def test_each_model_has_its_image_rule(model: str, rule: Tiles | Patches) -> None:
    """Each model has its rule."""
    assert traits(model).images == rule


def test_image_in_a_message_is_added_to_the_text() -> None:
    """It splits the text; one of unknown size is guessed and marked."""
    image = {"type": "image_url", "image_url": {"url": data_url(png(512, 512))}}
    text = {"type": "text", "text": "ab"}
    assert tokens_in(messages=[{"role": "user", "content": [text, image, text]}]) == 3 + 4 + 4 + 255
    item = {"type": "input_image", "image_url": data_url(png(512, 512)), "detail": "low"}
    assert tokens_in("responses", input=[{"role": "user", "content": [item]}]) == 3 + 4 + 85
    far = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
    found = estimate_call("chat.completions", {"messages": [{"role": "user", "content": [far]}]}, None, "gpt-4o")
    assert (found.usage.input_tokens, found.unknown) == (3 + 4 + 765, ("image size",))
    far["image_url"]["detail"] = "low"
    found = estimate_call("chat.completions", {"messages": [{"role": "user", "content": [far]}]}, None, "gpt-4o")
    assert (found.usage.input_tokens, found.unknown) == (3 + 4 + 85, ())


# --- what cannot be known ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "body", "unknown"),
    [
        ("chat.completions", {"messages": [message([{"type": "input_audio", "input_audio": {}}])]}, "audio"),
        ("chat.completions", {"messages": [message([{"type": "file", "file": {}}])]}, "file"),
        ("chat.completions", {"messages": [message("hi")], "web_search_options": {}}, "hosted tools"),
        (
            "chat.completions",
            {"messages": [message("hi")], "tools": [{"type": "custom", "custom": {}}]},
            "hosted tools",
        ),
        ("chat.completions", {"messages": [{"role": "assistant", "audio": {"id": "1"}}]}, "audio"),
        ("chat.completions", {"messages": [message(iter("abc"))]}, "unreadable input"),
        ("chat.completions", {"messages": iter([message("hi")])}, "unreadable input"),
        ("chat.completions", {"messages": [object()]}, "unreadable input"),
        ("responses", {"input": "hi", "previous_response_id": "r"}, "previous response"),
        ("responses", {"input": "hi", "conversation": {"id": "c"}}, "conversation"),
        ("responses", {"prompt": {"id": "p"}}, "stored prompt"),
        ("responses", {"input": [{"type": "item_reference", "id": "i"}]}, "item reference"),
        ("responses", {"input": "hi", "tools": [{"type": "web_search"}]}, "hosted tools"),
        ("responses", {"input": [{"type": "web_search_call"}]}, "hosted tools"),
        ("responses", {"input": [{"type": "reasoning"}], "tools": [WEATHER]}, "encrypted reasoning"),
        ("responses", {"input": [message([{"type": "input_file"}])]}, "file"),
        ("responses", {}, "unreadable input"),
        ("audio.transcriptions", {"model": "whisper-1"}, "audio"),
        ("images.generate", {"prompt": "a cat"}, "images"),
        ("threads.runs", {}, "conversation"),
    ],
)
def test_uncountable_parts_are_named(endpoint: str, body: dict, unknown: str) -> None:
    """Everything that only the server can count is named; the rest is a lower bound."""
    found = estimate_call(endpoint, body, None, "gpt-4o")
    assert unknown in found.unknown
    assert found.lower_bound


def test_iterator_in_a_request_is_not_consumed() -> None:
    """An iterator in a request belongs to the caller: nothing is taken from it."""
    parts, tools, items = iter([1, 2]), iter([WEATHER]), iter([message("hi")])
    estimate_call("chat.completions", {"messages": [message(parts)], "tools": tools}, None, "gpt-4o")
    estimate_call("responses", {"input": items}, None, "gpt-4o")
    assert (list(parts), list(tools), list(items)) == ([1, 2], [WEATHER], [message("hi")])


def test_unknown_counts_are_none() -> None:
    """Output before there is an answer, input that was not requested, whole endpoints."""
    body = {"messages": [message("hi")]}
    assert estimate_call("chat.completions", body, None, "gpt-4o").usage == Usage(input_tokens=9)
    known = estimate_call("chat.completions", body, [Output("ok")], "gpt-4o", input_known=True)
    assert known.usage == Usage(output_tokens=2)
    assert estimate_call("moderations", {"input": "hi"}, None, None).usage == Usage()
    assert estimate_call("no.such", {}, None, None) == Estimate(Usage(), "tiktoken", rule="o200k_base")
    assert estimate_call("audio.speech", {"input": "hello"}, None, "tts-1").usage == Usage(characters=5)


# --- embeddings, completions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "tokens"), [("abc", 3), (["abc", "de"], 5), ([1, 2, 3, 4], 4), ([[1, 2], [3]], 3), ("", 0)]
)
def test_embeddings_and_completions_cost_their_tokens_only(value: object, tokens: int) -> None:
    """Arrays of tokens cost their length; embeddings have no output."""
    assert estimate_call("embeddings", {"input": value}, None, None).usage == Usage(tokens, 0, tokens)
    assert tokens_in("completions", prompt=value) == tokens


# --- output -----------------------------------------------------------------------------------------------------------

TOOLS = [{"type": "function", "function": WEATHER}]
FORM = {"type": "json_schema", "json_schema": {"name": "Out", "schema": {}}}
CALL = Output(calls=(("add", '{"a": 1}'),))
TWO = Output(calls=(("a", "{}"), ("b", "{}")))
WRAPPED = len(
    '{"tool_uses":[{"recipient_name":"functions.a","parameters":{}},{"recipient_name":"functions.b","parameters":{}}]}'
)


@pytest.mark.parametrize(
    ("spoken", "model", "body", "tokens"),
    [
        ([Output("hello")], "gpt-4o", {}, 5),
        ([Output("hello"), Output("ok")], "gpt-4o", {"n": 2}, 7),
        ([Output("hello")], "gpt-4o", {"tools": TOOLS}, 6),
        ([Output("{}")], "gpt-4o", {"response_format": FORM}, 2),
        ([Output("{}")], "gpt-4o", {"response_format": FORM, "tools": TOOLS}, 2 + 5),
        ([Output(refusal="no")], "gpt-4o", {}, 3),
        ([Output("hello", stopped="length")], "gpt-5", {}, 5),
        ([Output("hello", done=False)], "gpt-5", {}, 5),
        ([Output("hello")], "gpt-5", {}, 5 + 9),
        ([Output("hello")], "gpt-5", {"reasoning_effort": "minimal"}, 5 + 3),
        ([Output("hello")], "gpt-5.4", {}, 5 + 3),
        ([Output("hello")], "gpt-5.4", {"reasoning_effort": "low"}, 5 + 9),
        ([Output("hello")], "o3", {}, 5 + 13),
        ([Output("{}")], "gpt-5.4", {"response_format": FORM}, 2 + 3 + 4),
        ([CALL], "gpt-4o", {}, 3 + 7 + 7),
        ([CALL], "gpt-4-0613", {}, 3 + 7 + 8),
        ([CALL], "gpt-5", {}, 3 + 7 + 16),
        ([CALL], "gpt-5.4", {}, 3 + 7 + 10),
        ([CALL], "gpt-4o", {"tool_choice": {"type": "function", "function": {"name": "add"}}}, 7),
        ([CALL._replace(text="so")], "gpt-4o", {}, 2 + 3 + 7 + 7),
        ([TWO], "gpt-4o", {}, WRAPPED + 10),
        ([TWO], "gpt-5.4", {}, WRAPPED + 13),
        ([], "gpt-4o", {}, 0),
    ],
)
def test_output_of_chats_is_counted_by_family(spoken: list[Output], model: str, body: dict, tokens: int) -> None:
    """Text, refusals, calls and their frames, by family and by the request."""
    assert tokens_out(spoken, model=model, **body) == tokens


HIDDEN = Output(reasoned=True)
SHOWN_TEXT = Output("hello", reasoned=False)


@pytest.mark.parametrize(
    ("spoken", "model", "body", "tokens"),
    [
        ([SHOWN_TEXT], "gpt-4o", {}, 6),
        ([SHOWN_TEXT], "gpt-4o", {"tools": [{"type": "web_search"}]}, 7),
        ([SHOWN_TEXT], "gpt-4-0613", {}, 7),
        ([SHOWN_TEXT], "gpt-5", {}, 5 + 4),
        ([HIDDEN, SHOWN_TEXT], "gpt-5", {}, 5 + 6),
        ([HIDDEN, SHOWN_TEXT], "gpt-5.4", {"reasoning": {"effort": "none"}}, 5 + 6),
        ([Output("hello")], "gpt-5", {}, 5 + 6),
        ([Output("hello")], "gpt-5", {"reasoning": {"effort": "none"}}, 5 + 4),
        ([SHOWN_TEXT], "gpt-5", {"text": {"format": {"type": "json_schema"}}}, 5 + 4 + 4),
        ([SHOWN_TEXT], "o3-mini", {}, 6),
        ([SHOWN_TEXT], "o4-mini", {}, 12),
        ([Output("hello", done=False)], "gpt-4o", {}, 5),
        ([CALL], "gpt-4o", {}, 3 + 7 + 8),
        ([CALL], "gpt-4o", {"tool_choice": "required"}, 3 + 7 - 1),
        ([CALL], "gpt-4o", {"tool_choice": {"type": "function", "name": "add"}}, 8),
        ([CALL._replace(reasoned=False)], "gpt-5", {}, 3 + 7 + 11),
        ([HIDDEN, CALL], "gpt-5", {}, 3 + 7 + 13),
        ([Output(calls=(("a", "{}"),)), Output(calls=(("b", "{}"),))], "gpt-4o", {}, WRAPPED + 11),
        ([Output(calls=(("a", "{}"),), reasoned=False), Output(calls=(("b", "{}"),))], "gpt-5", {}, WRAPPED + 14),
    ],
)
def test_output_of_responses_is_counted_by_items(spoken: list[Output], model: str, body: dict, tokens: int) -> None:
    """Items are messages and calls; they also show whether the model has reasoned."""
    assert tokens_out(spoken, "responses", model, **body) == tokens


def test_visible_reasoning_is_counted() -> None:
    """Visible reasoning is output and reasoning; hidden reasoning is named as missing."""
    found = estimate_call("chat.completions", {}, [Output("ok", reasoning="hmm")], "deepseek-r1")
    assert (found.usage.output_tokens, found.usage.reasoning_tokens) == (5, 3)
    assert "reasoning" not in found.unknown
    assert "reasoning" in estimate_call("chat.completions", {}, [Output("ok")], "gpt-5").unknown
    assert "reasoning" not in estimate_call("chat.completions", {}, [Output("ok")], "gpt-5.1").unknown
    assert "reasoning" in estimate_call("responses", {}, [HIDDEN, SHOWN_TEXT], "gpt-5.1").unknown
    assert "reasoning" not in estimate_call("responses", {}, [SHOWN_TEXT], "gpt-5").unknown
    assert "audio" in estimate_call("chat.completions", {"modalities": ["audio"]}, [Output("ok")], "gpt-audio").unknown


def test_output_of_completions_is_their_text() -> None:
    """The output of a completion is the text of its choices."""
    assert tokens_out([Output("ab"), Output("c", stopped="length")], "completions") == 3


# --- from characters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("", 0, 0),
        ("abcde", 2, 2),
        ("déjà vu, très bien", 5, 6),
        ("今天天气很好" * 10, 48, 63),
        ("Привет, мир! " * 10, 37, 49),
        ("😀" * 12, 20, 30),
    ],
)
def test_text_without_a_vocabulary_is_counted_by_its_scripts(text: str, o200k: int, cl100k: int) -> None:
    """Without a vocabulary a text is counted by the scripts it is written in."""
    assert (ratio_tokens(text, "o200k_base"), ratio_tokens(text, "cl100k_base")) == (o200k, cl100k)


def test_rules_apply_without_a_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules count by characters, and the estimate is marked."""
    monkeypatch.setattr(encodings, "encoding", lambda name: None)
    found = estimate_call("chat.completions", {"messages": [message("hello you")]}, [Output("hello")], "gpt-4o")
    assert found == Estimate(Usage(3 + 4 + 3, 2, 12), "chars", rule="script")
