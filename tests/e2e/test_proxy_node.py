"""The metering proxy under a client in another language: OpenAI's own package for Node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="the extra [server] is not installed: the proxy is NOT tested under Node")
from openai_meter.ledger import Ledger
from openai_meter.testing.fake_api.server import DemoServer

pytestmark = pytest.mark.e2e

VERSION = "6.49.0"
"""Of the package ``openai`` of npm."""
PROGRAM = """
import OpenAI from "openai";
import { createReadStream, writeFileSync } from "node:fs";
const client = new OpenAI({ defaultHeaders: { "x-openai-meter-agent": "node" } });
const messages = [{ role: "user", content: "Hello" }];
const found = {};
found.chat = (await client.chat.completions.create({ model: "gpt-5-mini", messages })).usage;
let text = "";
const options = { model: "gpt-5-mini", messages, stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create(options)) {
  text += chunk.choices[0]?.delta?.content ?? "";
  if (chunk.usage) found.stream = chunk.usage;
}
const response = await client.responses.create({ model: "gpt-5-mini", input: "Hello" });
found.response = response.usage;
for await (const event of await client.responses.create({ model: "gpt-5-mini", input: "Hello", stream: true })) {
  if (event.type === "response.completed") found.responseStream = event.response.usage;
}
found.embedding = (await client.embeddings.create({ model: "text-embedding-3-small", input: "Hello" })).usage;
writeFileSync("sound.mp3", Buffer.alloc(700000, 1));
await client.audio.transcriptions.create({ model: "whisper-1", file: createReadStream("sound.mp3") });
found.models = (await client.models.list()).data.length > 0;
try {
  await client.chat.completions.create({ model: "no-such-model", messages });
} catch (error) {
  found.error = error.constructor.name;
}
console.log(JSON.stringify({ ...found, text: text.length > 0 }));
process.exit(5);
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("node or npm is missing")
        pytest.skip("node or npm is missing: the proxy is NOT tested with a client in another language")
    made = tmp_path_factory.mktemp("node")
    done = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", f"openai@{VERSION}"],
        cwd=made, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"npm cannot install openai, so the proxy is NOT tested with it: {done.stderr[-500:]}")
    (made / "program.mjs").write_text(PROGRAM)
    return made


def test_calls_of_node_are_recorded_as_node_sees_them(folder: Path) -> None:
    """Plain, streamed, responses, an upload, an error: each one record, with the usage that the program was told."""
    url = f"sqlite:///{folder / 'usage.db'}"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")},
        "OPENAI_API_KEY": "sk-node", "OPENAI_METER_HOSTS": "127.0.0.1=openai",
    }  # fmt: skip
    with DemoServer() as api:
        done = subprocess.run(
            [sys.executable, "-m", "openai_meter", "proxy", "--port", "0", "--upstream", api.base_url, "--ledger", url,
             "--", "node", "program.mjs"],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    assert done.returncode == 5, done.stderr
    seen = json.loads(done.stdout)
    ledger = Ledger(url)
    calls = sorted(ledger.calls(), key=lambda call: call.started_at)
    ledger.close()
    assert seen["text"]
    assert seen["models"]
    tokens = [
        (usage.get("prompt_tokens", usage.get("input_tokens")), usage["total_tokens"])
        for usage in (seen["chat"], seen["stream"], seen["response"], seen["responseStream"], seen["embedding"])
    ]
    assert [(call.usage.input_tokens, call.usage.total_tokens) for call in calls[:5]] == tokens
    assert [(call.endpoint, call.stream) for call in calls[:6]] == [
        ("chat.completions", False), ("chat.completions", True), ("responses", False), ("responses", True),
        ("embeddings", False), ("audio.transcriptions", False),
    ]  # fmt: skip
    assert {call.agent for call in calls} == {"node"}
    assert [call.status for call in calls[:6]] == ["ok"] * 6
    assert calls[5].model == "whisper-1"
    assert "sk-node" not in (folder / "usage.db").read_bytes().decode("latin-1")
    assert [call.error_type for call in calls[6:]] == ([seen["error"]] if "error" in seen else [])
