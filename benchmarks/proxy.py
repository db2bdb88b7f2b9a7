"""What the metering proxy adds to a call: a plain chat call straight to a server on this machine, and through the proxy.

    python benchmarks/proxy.py [--rounds 5] [--json]

The server, the client and the proxy are processes of their own. Each round measures both ways in turn, with one
connection that is kept. Shown is the median of the differences of the medians, in milliseconds.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time

from harness import Report, arguments, machine

CALLS = 300
SERVER = """
import sys
from openai_meter.testing.fake_api.handlers import json_answer
from openai_meter.testing.fake_api.loopback import LoopbackServer
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}
with LoopbackServer(lambda _: json_answer(ANSWER)) as server:
    print(server.url, flush=True)
    sys.stdin.read()
"""
BODY = json.dumps({"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]})


def median(url: str) -> float:
    """Seconds of a call, over one connection."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", BODY, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - start)
        assert answer.status == 200
    connection.close()
    return statistics.median(times)


def main() -> None:
    """Measures, and shows."""
    options = arguments(__doc__ or "").parse_args()
    environment = {**os.environ, "OPENAI_METER_HOSTS": "127.0.0.1=openai"}
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    direct = server.stdout.readline().strip()
    proxy = subprocess.Popen(
        [sys.executable, "-m", "openai_meter", "proxy", "--port", "0", "--upstream", f"{direct}/v1"],
        stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert proxy.stderr is not None
        found = re.search(r"http://[\d.:]+", proxy.stderr.readline())
        assert found is not None
        rounds = [(median(direct), median(found[0])) for _ in range(options.rounds)]
    finally:
        proxy.terminate()
        proxy.wait(60)
        server.terminate()
        server.wait(60)
    added = [1_000 * (through - straight) for straight, through in rounds]
    report = Report("The metering proxy: milliseconds of a call", ("way", "ms"), machine("httpx2", "uvicorn"))
    report.add("straight to the server", statistics.median(1_000 * straight for straight, _ in rounds))
    report.add("added by the proxy", statistics.median(added))
    report.show(as_json=options.json)



if __name__ == "__main__":
    main()
