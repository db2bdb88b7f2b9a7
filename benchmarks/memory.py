"""What a meter keeps: the memory of a process that makes a million metered calls, and leaves a thousand streams.

    python benchmarks/memory.py [--calls 1000000] [--streams 1000] [--json]

Each call goes the whole way of a metered one, from the SDK's ``request`` to its record: usage, price, attribution,
thresholds. Only what is below ``request`` is cut out (an answer is there at once), as a million of it would take an
hour. Ids, users and sessions are ever new. After a hundredth, a tenth and all of the calls, the memory of the process
is read; what the first row holds is the ring of 10,000 recent calls, which is full then.

Then 1,000 streams, through a real client on a transport inside the process, are left after one chunk; half as many,
before them, warm up. The program lets go of the responses, and all must have been recorded, none left open.

It is resident memory where Linux tells it, elsewhere its peak. Both grow by what the allocator keeps, too.
"""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path
from typing import Any

from harness import Report, arguments, machine
from openai import OpenAI
from openai._base_client import SyncAPIClient
from openai._models import FinalRequestOptions, construct_type
from openai.types.chat import ChatCompletion

import openai_meter
from openai_meter.testing import FakeAPI

USAGE = {"prompt_tokens": 1200, "completion_tokens": 340, "total_tokens": 1540}
MESSAGE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Bonjour."}}
HEAD = {"id": "", "created": 1, "model": "gpt-5.4-mini-2026-03-17", "service_tier": "default"}
ANSWER: Any = construct_type(type_=ChatCompletion, value={**HEAD, "choices": [MESSAGE], "usage": USAGE})
BODY: dict[str, Any] = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "Good day in French?"}]}


def held() -> float:
    """Megabytes of this process."""
    for _ in range(3):
        gc.collect()
    if (told := Path("/proc/self/statm")).exists():
        return int(told.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def answered(self: Any, cast_to: Any, options: Any, **_: Any) -> Any:  # noqa: ARG001 - as the SDK calls it
    """What stands for all below ``request``: the next answer, through the parser as the SDK does it."""
    ANSWER.__dict__["id"] = options.json_data["next"]()
    return options.post_parser(ANSWER) if callable(options.post_parser) else ANSWER


def call(numbers: range) -> None:
    """Makes calls: ten in each session, a thousand for each user."""
    ids = map("chatcmpl-{}".format, numbers)
    client = OpenAI(api_key="none")
    options = FinalRequestOptions.construct(
        method="post", url="/chat/completions", json_data={**BODY, "next": ids.__next__}
    )
    for number in numbers[::10]:
        with openai_meter.tag(user=f"user {number // 1_000}", session=f"session {number // 10}", agent="writer"):
            for _ in range(min(10, numbers.stop - number)):
                client.request(ChatCompletion, options)


def leave(client: OpenAI, number: int) -> None:
    """Opens streams, and leaves each after one chunk."""
    for _ in range(number):
        next(client.chat.completions.create(**BODY, stream=True))


def main() -> None:
    """Measures, and prints."""
    parser = arguments((__doc__ or "").partition("\n")[0], rounds=None)
    parser.add_argument("--calls", type=int, default=1_000_000, help="how many in all (%(default)s)")
    parser.add_argument("--streams", type=int, default=1_000, help="how many are left (%(default)s)")
    options = parser.parse_args()
    report = Report("Memory", ("after", "MB grown", "bytes each, in this row", "left open"))
    report.about = machine("openai")
    # It stands for the SDK's own, which is known by the file that it comes from.
    answered.__code__ = answered.__code__.replace(co_filename=SyncAPIClient.request.__code__.co_filename)
    whole, SyncAPIClient.request = SyncAPIClient.request, answered  # type: ignore[method-assign, assignment]
    meter = openai_meter.install()
    call(range(10))  # what the first call loads is there from here on
    meter.settle()
    start = before = held()
    done = 10
    for number in (options.calls // 100, options.calls // 10, options.calls):
        call(range(done, number))
        assert meter.totals.calls == number
        now = held()
        report.add(f"{number:,} calls", now - start, (now - before) * 1e6 / (number - done), len(meter.pending))
        done, before = number, now
    openai_meter.uninstall()
    SyncAPIClient.request = whole  # type: ignore[method-assign]
    openai_meter.install()
    with FakeAPI().client() as client:
        leave(client, options.streams // 2)
        meter.settle()
        before = held()
        leave(client, options.streams)
    meter.settle()
    now = held()
    assert meter.totals.calls == options.calls + options.streams // 2 + options.streams
    grown = now - before  # without what the first streams load: the HTTP library, the vocabularies of estimates
    report.add(f"{options.streams:,} more streams, left", grown, grown * 1e6 / options.streams, len(meter.pending))
    report.show(as_json=options.json)


if __name__ == "__main__":
    main()
