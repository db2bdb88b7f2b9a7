"""What the metering proxy adds to a call: a plain chat call straight to a server on this machine, and through it.

    python benchmarks/proxy.py [--rounds 5] [--json]

The server, the client and the proxy are processes of their own. Each round measures both ways in turn, with one
connection that is kept. Shown are the median of the calls, and the fastest twentieth: on a machine that has other work
too, a call through the proxy waits for two more processes to get their turn.
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


def taken(url: str) -> tuple[float, float]:
    """Milliseconds of a call over one connection: the median, and that of the fastest twentieth."""
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
    times.sort()
    return 1_000 * statistics.median(times), 1_000 * times[len(times) // 20]


def main() -> None:
    """Measures, and shows."""
    options = arguments(__doc__ or "").parse_args()
    environment = {**os.environ, "OPENAI_METER_HOSTS": "127.0.0.1=openai"}
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    proxy = subprocess.Popen(
        [sys.executable, "-m", "openai_meter", "proxy", "--port", "0", "--upstream", f"{url}/v1"],
        stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert proxy.stderr is not None
        found = re.search(r"http://[\d.:]+", proxy.stderr.readline())
        assert found is not None
        rounds = [(taken(url), taken(found[0])) for _ in range(options.rounds)]
    finally:
        proxy.terminate()
        proxy.wait(60)
        server.terminate()
        server.wait(60)
    columns = ("way", "median, ms", "fastest twentieth, ms")
    report = Report("A chat call through the metering proxy", columns, machine("httpx2", "uvicorn"))
    straight = [statistics.median(direct[place] for direct, _ in rounds) for place in (0, 1)]
    added = [statistics.median(through[place] - direct[place] for direct, through in rounds) for place in (0, 1)]
    report.add("straight to the server", *straight)
    report.add("added by the proxy", *added)
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
