"""A check for continuous integration: it fails if the answers of a program get more expensive.

    python -m openai_meter.examples.ci_cost_gate 0.0005

The exit status is 0 if the calls cost at most so many US dollars, and 1 if they cost more or if a cost is unknown.
"""

import sys
from decimal import Decimal

from openai import OpenAI

import openai_meter
from openai_meter.testing.fake_api.server import DemoServer


def answer_all(client: OpenAI) -> None:
    """The program under test: it answers the questions of a customer."""
    for question in ("What is paper for?", "And mail?", "And forms?"):
        client.responses.create(model="gpt-6-luna", input=question)


def main(limit: str = "0.0005") -> int:
    """Runs the program, and compares its cost with a limit in US dollars."""
    openai_meter.install(hosts={"127.0.0.1": "openai"})
    with DemoServer() as api, openai_meter.track("gate") as run:
        answer_all(OpenAI(base_url=api.base_url, api_key="demo"))
    run.print_summary()
    if run.totals.unpriced_calls or run.cost is None:
        print("failed: the cost of a call is unknown")
        return 1
    if run.cost > Decimal(limit):
        print(f"failed: ${run.cost} is more than ${limit}")
        return 1
    print(f"passed: ${run.cost} is at most ${limit}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
