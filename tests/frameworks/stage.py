"""What the programs of this folder share: a metered process, a local API, and a comparison of both for each way.

A program is run by ``.ci/frameworks`` in an environment of its own; pytest collects none of them. It ends with one line
of JSON: its framework, the version, and what came of each way of calling.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.metadata import version
from typing import Any

import openai_meter
from openai_meter import Budget, BudgetExceededError
from openai_meter.testing.fake_api.loopback import Answer, Request
from openai_meter.testing.fake_api.server import DemoServer
from openai_meter.usage.endpoints import find

MODEL = "gpt-4o-mini"
EMBEDDER = "text-embedding-3-small"
# USD per million tokens, by hand from OpenAI's price list: input, cached input, output.
_RATES = {
    "gpt-4o-mini": (Fraction("0.15"), Fraction("0.075"), Fraction("0.60")),
    "gpt-5-codex": (Fraction("1.25"), Fraction("0.125"), Fraction(10)),
    "text-embedding-3-small": (Fraction("0.02"), Fraction("0.02"), Fraction(0)),
}


class Stage:
    """A server that keeps what it answered, and a meter that has to have heard all of it."""

    def __init__(self, framework: str, distribution: str) -> None:
        self.framework = framework
        self.version = version(distribution)
        self.requests = 0
        """The requests that the server has seen since the last way began, of every kind."""
        self.answers: list[bytearray] = []
        self.ways: list[dict[str, Any]] = []
        self.server = DemoServer(self._heard).start()
        self.url = self.server.base_url
        self.meter = openai_meter.install(meter=openai_meter.Meter(), hosts={"127.0.0.1": "openai"}, thresholds=False)
        self.calls: tuple[Any, ...] = ()
        """The records of the last way."""

    def _heard(self, request: Request) -> Answer | None:
        self.requests += 1
        row = find(request.method, request.path)
        if row is None or row.role == "poll":
            return None
        answer, kept = self.server.answer(request), bytearray()
        self.answers.append(kept)
        if isinstance(answer.body, bytes):
            kept += answer.body
            return answer
        return answer._replace(body=_kept(answer.body, kept))

    @contextmanager
    def way(self, name: str, *, expected: int | None = None, estimated: bool = False) -> Iterator[None]:
        """Compares the calls that are made in the block.

        Args:
            name: what the table calls it.
            expected: how many calls there have to be, if that is known.
            estimated: whether the API does not tell the tokens, so that there is nothing to compare.
        """
        self.answers.clear()
        self.meter.reset()
        error = ""
        try:
            yield
        except Exception as raised:
            traceback.print_exc()
            error = f"{type(raised).__name__}: {raised}"[:200]
        self.meter.settle()
        self.calls = self.meter.calls
        said = [_usage(bytes(answer)) for answer in self.answers]
        tokens = sum(one["input"] + one["output"] for one in said)
        counted = sum(call.usage.total_tokens or 0 for call in self.calls)
        cost = sum((_cost(one) for one in said), Fraction(0))
        charged = sum((Fraction(call.cost or 0) for call in self.calls), Fraction(0))
        made = len(said)
        right = made > 0 and len(self.calls) == made and expected in (None, made)
        if not estimated:
            right = right and tokens == counted and cost == charged
        self.ways.append(
            {
                "way": name, "http": made, "records": len(self.calls), "tokens_said": tokens,
                "tokens_counted": counted, "cost_said": f"{float(cost):.8f}", "cost_counted": f"{float(charged):.8f}",
                "ok": right and not error, "error": error, "note": "estimated" * estimated,
            }
        )  # fmt: skip

    @contextmanager
    def refused(self, name: str, *, within: str = "", calls: int = 1) -> Iterator[None]:
        """Runs the block under a budget that is spent: it has to end with the error of the budget, and send nothing.

        Args:
            name: what the table calls it.
            within: the error in which the framework wraps every error, if it does; the error of the budget has to be
                its ``__cause__``.
            calls: how many calls the block makes. Each may ask for admission once; more would be a retry.
        """
        spent = Budget(name, calls=0)
        self.requests, error, note = 0, "", "BudgetExceededError"
        self.meter.reset()
        openai_meter.install(budgets=[spent])
        try:
            yield
            error = "the framework raised nothing"
        except Exception as raised:
            outer, inner = (type(raised).__name__, raised.__cause__) if within else ("", raised)
            note = f"__cause__ of {outer}" if within else note
            if outer != within or not isinstance(inner, BudgetExceededError) or inner.budget != name:
                traceback.print_exc()
                error = f"{type(raised).__name__}: {raised}"[:200]
        self.meter.settle()
        self.calls = self.meter.calls
        asked = self.meter.budgets[name].refused
        if not error and asked != calls:
            error = f"admission was asked {asked} times for {calls} calls"
        openai_meter.install(budgets=[])
        self.ways.append(
            {
                "way": f"spent: {name}", "http": self.requests, "records": len(self.calls), "tokens_said": 0,
                "tokens_counted": 0, "cost_said": "0", "cost_counted": "0", "asked": asked,
                "ok": not (error or self.requests or self.calls), "error": error, "note": note,
            }
        )  # fmt: skip

    @contextmanager
    def stopped(self, name: str, kind: type[Exception]) -> Iterator[None]:
        """Runs the block under a budget that is spent: nothing is sent, and the error of the budget is in the chain."""
        self.requests, chain = 0, []
        self.meter.reset()
        openai_meter.install(budgets=[Budget(name, calls=0)])
        try:
            yield
        except Exception as raised:
            error: BaseException | None = raised
            while error is not None:
                chain.append(error)
                error = error.__cause__ or error.__context__
        openai_meter.install(budgets=[])
        held = any(isinstance(error, kind) for error in chain)
        self.ways.append(
            {
                "way": f"spent: {name}", "http": self.requests, "records": len(self.meter.calls), "tokens_said": 0,
                "tokens_counted": 0, "cost_said": "0", "cost_counted": "0", "ok": held and not self.requests,
                "error": "" if held else f"{[type(error).__name__ for error in chain]}",
                "note": f"{kind.__name__} in the chain of {type(chain[0]).__name__}" if chain else "",
            }
        )  # fmt: skip

    def check(self, holds: bool, what: str) -> None:
        """Fails the last way, with a sentence, where something does not hold."""
        if not holds:
            self.ways[-1].update(ok=False, error=what)

    def end(self) -> None:
        """Writes what came of it, and ends the program: with 1 where a way failed."""
        faults = self.meter.internal_errors
        ok = all(way["ok"] for way in self.ways) and not faults
        report = {"framework": self.framework, "version": self.version, "ways": self.ways, "faults": faults, "ok": ok}
        sys.stdout.write(f"\n{json.dumps(report)}\n")
        sys.stdout.flush()
        self.server.close()
        raise SystemExit(not ok)


def _kept(body: Any, kept: bytearray) -> Iterator[bytes]:
    for piece in body:
        kept += piece
        yield piece


def _usage(body: bytes) -> dict[str, Any]:
    """What an answer says of its usage; not read by the package's own readers, which are what is tested."""
    found: dict[str, Any] = {"model": "", "input": 0, "cached": 0, "output": 0}
    lines = [line[6:] for line in body.splitlines() if line.startswith(b"data: {")] or [body]
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:  # speech, or another file
            continue
        said = said.get("response", said)
        found["model"] = said.get("model") or found["model"]
        if usage := said.get("usage"):
            details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
            found["input"] = usage.get("prompt_tokens", usage.get("input_tokens", 0))
            found["output"] = usage.get("completion_tokens", usage.get("output_tokens", 0))
            found["cached"] = details.get("cached_tokens", 0)
    return found


def _cost(said: dict[str, Any]) -> Fraction:
    name = next((name for name in _RATES if said["model"].startswith(name)), None)
    if name is None:
        return Fraction(0)
    given, cached, made = _RATES[name]
    return ((said["input"] - said["cached"]) * given + said["cached"] * cached + said["output"] * made) / 1_000_000


def run(main: Callable[[], Any]) -> None:
    """Runs a coroutine function."""
    asyncio.run(main())
