"""The tracker that programs hand their responses to: what it counts, shows and saves."""

from __future__ import annotations

import io
import json
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

import openai_meter
from openai_meter import Call, ConfigurationError, Meter, Price, Usage, tracker
from openai_meter.core import faults
from openai_meter.testing.fake_api.server import DemoServer
from openai_meter.testing.fake_api.workflow import Needs as NeedAnalysisResponse
from openai_meter.tracker import TokenTracker, get_global_tracker

MESSAGES: Any = [{"role": "user", "content": "Bonjour"}]
NANO = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-5-nano",
    "status": "completed",
    "output": [],
    "usage": {"input_tokens": 5_000, "output_tokens": 3_000, "total_tokens": 8_000},
}


def nano(number: int = 1, **more: Any) -> dict[str, Any]:
    """A response of 5,000 and 3,000 tokens of gpt-5-nano."""
    return {**NANO, "id": f"resp_{number}", **more}


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


@pytest.fixture
def client(server: DemoServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url, api_key="demo", max_retries=0) as client:
        yield client


@pytest.fixture
def mine(tmp_path: Path) -> TokenTracker:
    return TokenTracker(output_dir=tmp_path / "reports")


@pytest.fixture(autouse=True)
def _no_leftovers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the prices or the global tracker of another, and none writes into the project."""
    monkeypatch.setattr(tracker, "PRICING", {})
    monkeypatch.setattr(tracker, "_global", {})
    monkeypatch.chdir(tmp_path)


# --- the guide's examples, word for word but for the import line and the "..." ----------------------------------------


def test_basic_example_of_the_guide_works(client: OpenAI, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Example 1: a response is tracked, the summary printed and the report saved."""
    # Créer le tracker
    tracker = TokenTracker()

    # Après un appel API
    response = client.responses.parse(model="gpt-5-nano", input="Bonjour", text_format=NeedAnalysisResponse)

    # Tracker la réponse
    tracker.track_response(response, agent_name="need_analysis", operation="analyze_needs", model="gpt-5-nano")

    # Afficher le résumé
    tracker.print_summary()

    # Sauvegarder le rapport
    tracker.save_report()

    assert response.usage is not None
    (saved,) = (tmp_path / "outputs" / "token_tracking").iterdir()
    report = json.loads(saved.read_text(encoding="utf-8"))
    assert report["total_tokens"] == response.usage.total_tokens > 0
    assert report["calls_by_agent"]["need_analysis"]["calls"] == 1
    shown = capsys.readouterr().out
    assert "need_analysis" in shown
    assert f"{response.usage.total_tokens:,}" in shown


class NeedAnalysisAgent:
    """Example 2, as it stands in the guide."""

    def __init__(self, api_key: str, tracker: TokenTracker = None):  # type: ignore[assignment]
        self.client = OpenAI(api_key=api_key)
        self.tracker = tracker  # ⬅️ AJOUT
        self.model = "gpt-5-nano"

    def analyze_needs(self, *needs: str):
        response = self.client.responses.parse(
            model=self.model,
            input=list(needs),
            text_format=NeedAnalysisResponse
        )  # fmt: skip

        # ⬅️ AJOUT: Tracking
        if self.tracker:
            self.tracker.track_response(
                response,
                agent_name="need_analysis",
                operation="analyze_needs",
                model=self.model
            )  # fmt: skip

        return response.output_parsed


class WorkshopAgent(NeedAnalysisAgent):
    """An agent that follows the guide's checklist, whose arguments are positional."""

    def analyze_needs(self, *needs: str):
        response = self.client.responses.parse(model=self.model, input=list(needs), text_format=NeedAnalysisResponse)
        if self.tracker:
            self.tracker.track_response(response, "agent_name", "operation", self.model)
        return response.output_parsed


@pytest.fixture
def api_key(server: DemoServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    return "demo"


def test_agent_and_workflow_of_the_guide_work(api_key: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Examples 2 and 3 and the checklist: agents with and without a tracker, the summary and the report's path."""
    assert isinstance(NeedAnalysisAgent(api_key).analyze_needs(), NeedAnalysisResponse)

    # Créer le tracker au début du workflow
    tracker = TokenTracker()

    # Initialiser les agents avec le tracker
    need_analysis_agent = NeedAnalysisAgent(api_key, tracker=tracker)
    workshop_agent = WorkshopAgent(api_key, tracker=tracker)

    # Exécuter le workflow
    need_analysis_agent.analyze_needs()
    workshop_agent.analyze_needs()

    # À la fin du workflow
    tracker.print_summary()
    report_path = tracker.save_report()
    print(f"Rapport sauvegardé: {report_path}")

    detail = json.loads(Path(report_path).read_text(encoding="utf-8"))["calls_detail"]
    assert [(one["agent_name"], one["operation"], one["model"]) for one in detail] == [
        ("need_analysis", "analyze_needs", "gpt-5-nano"),
        ("agent_name", "operation", "gpt-5-nano"),
    ]
    assert re.search(r"Rapport sauvegardé: .*token_report_\d{8}_\d{6}\.json\n$", capsys.readouterr().out)


def test_summary_equals_that_of_the_guide(mine: TokenTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's session, at its prices, prints as in the guide, in French, with the agents by their cost."""
    tracker = mine
    tracker.PRICING = {"a": {"input": 2, "output": 2}, "b": {"input": 4, "output": 4}}
    for agent, model, sizes in (
        ("workshop", "a", ((2_000, 1_000), (1_500, 1_000))),
        ("need_analysis", "b", ((5_000, 3_000),)),
    ):
        for number, (tokens_in, tokens_out) in enumerate(sizes):
            usage = {"input_tokens": tokens_in, "output_tokens": tokens_out}
            tracker.track_response({"id": f"{agent}{number}", "model": model, "usage": usage}, agent)
    file = io.StringIO()
    tracker.print_summary(lang="fr", file=file)
    assert (
        file.getvalue()
        == f"""\
======================================================================
📊 RÉSUMÉ DES TOKENS & COÛTS
======================================================================
🕐 Session démarrée: {tracker.session_start}
📞 Nombre d'appels API: 3
🔤 Tokens totaux: 13,500
   ├─ Input:  8,500
   └─ Output: 5,000
💰 Coût total: $0.0430

📊 Détails par agent:
   • need_analysis:
     ├─ Appels: 1
     ├─ Tokens: 8,000
     └─ Coût: $0.0320
   • workshop:
     ├─ Appels: 2
     ├─ Tokens: 5,500
     └─ Coût: $0.0110
======================================================================
"""
    )


# --- what is counted --------------------------------------------------------------------------------------------------


def test_tracker_uses_the_published_price(mine: TokenTracker) -> None:
    """8,000 tokens of gpt-5-nano are $0.00145 at .05 and .40, whatever a guide estimated; PRICING is empty."""
    mine.track_response(nano(), "need_analysis", "analyze_needs", "gpt-5-nano")
    assert mine.meter.cost == Decimal("0.00145")
    assert tracker.PRICING == {}


class Usages(BaseModel):
    prompt_tokens: int
    completion_tokens: int


class Completion(BaseModel):
    id: str
    model: str
    usage: Usages


class SlottedUsage:
    __slots__ = ("input_tokens", "output_tokens")

    def __init__(self) -> None:
        self.input_tokens, self.output_tokens = 10, 2


class Slotted:
    __slots__ = ("model", "usage")

    def __init__(self) -> None:
        self.model = "gpt-5-nano"
        self.usage = SlottedUsage()


class Raw:
    def parse(self) -> Completion:
        return Completion(id="raw", model="gpt-5-nano", usage=Usages(prompt_tokens=10, completion_tokens=2))


def mocked() -> MagicMock:
    response = MagicMock()
    response.model = "gpt-5-nano"
    response.usage.input_tokens = 10
    response.usage.output_tokens = 2
    return response


@pytest.mark.parametrize(
    "response",
    [
        {"model": "gpt-5-nano", "usage": {"input_tokens": 10, "output_tokens": 2}},
        {"model": "gpt-5-nano", "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}},
        {"type": "response.completed", "response": nano(usage={"input_tokens": 10, "output_tokens": 2})},
        {"model": "gpt-5-nano", "usage": SimpleNamespace(prompt_tokens=10, completion_tokens=2)},
        SimpleNamespace(model="gpt-5-nano", usage=SimpleNamespace(input_tokens=10, output_tokens=2)),
        SimpleNamespace(model="gpt-5-nano", usage={"input_tokens": 10, "output_tokens": 2}),
        Completion(id="x", model="gpt-5-nano", usage=Usages(prompt_tokens=10, completion_tokens=2)),
        SimpleNamespace(http_response=SimpleNamespace(
            content=b'{"model": "gpt-5-nano", "usage": {"input_tokens": 10, "output_tokens": 2}}')),
        Slotted(),
        Raw(),
        mocked(),
    ],
    ids=lambda response: type(response).__name__,
)  # fmt: skip
def test_any_object_with_a_usage_is_read(mine: TokenTracker, response: Any) -> None:
    """A dict, a look-alike, an event, a raw response: the same call."""
    mine.track_response(response)
    (call,) = mine.meter.calls
    assert (call.model, call.usage, call.usage_source) == ("gpt-5-nano", Usage(10, 2, 12), "api")
    assert (call.agent, call.operation) == ("unknown", "unknown")
    assert call.cost == Decimal("0.0000013")


class Broken:
    @property
    def usage(self) -> Any:
        raise RuntimeError("not yours")


class Asynchronous:
    async def parse(self) -> Any:
        return None


@pytest.mark.parametrize(
    "response",
    [
        None,
        "some text",
        5,
        b"",
        object(),
        [],
        {},
        {"usage": None},
        {"usage": 5},
        {"usage": {"input_tokens": "many"}},
        {"id": ["x"], "object": ["y"], "usage": []},
        Broken(),
        Asynchronous(),
        MagicMock(),
        SimpleNamespace(http_response=5),
    ],
    ids=lambda response: type(response).__name__,
)
def test_unreadable_response_is_a_call_of_unknown_size(mine: TokenTracker, response: Any) -> None:
    """The tokens are unknown, not 0, and so is the cost."""
    mine.track_response(response, "a", model="gpt-5-nano")
    (call,) = mine.meter.calls
    assert (call.usage.known, call.usage_source, call.cost, call.model) == (False, "none", None, "gpt-5-nano")
    assert mine.meter.totals.unmeasured_calls == 1
    (detail,) = mine.to_dict()["calls_detail"]
    assert (detail["input_tokens"], detail["total_tokens"], detail["cost_usd"]) == (None, None, None)


@pytest.mark.parametrize(
    ("call", "endpoint"),
    [
        (lambda c: c.chat.completions.create(model="gpt-5-nano", messages=MESSAGES), "chat.completions"),
        (lambda c: c.responses.create(model="gpt-5-nano", input="Bonjour"), "responses"),
        (lambda c: c.responses.parse(model="gpt-5-nano", input="x", text_format=NeedAnalysisResponse), "responses"),
        (lambda c: c.completions.create(model="gpt-3.5-turbo-instruct", prompt="Bonjour"), "completions"),
        (lambda c: c.embeddings.create(model="text-embedding-3-small", input="Bonjour"), "embeddings"),
        (lambda c: c.moderations.create(input="Bonjour"), "moderations"),
        (lambda c: c.chat.completions.with_raw_response.create(model="gpt-5-nano", messages=MESSAGES),
         "chat.completions"),
        (lambda c: c.responses.with_raw_response.create(model="gpt-5-nano", input="Bonjour"), "responses"),
    ],
    ids=["chat", "responses", "parse", "completions", "embeddings", "moderations", "raw chat", "raw response"],
)  # fmt: skip
def test_tracked_response_equals_a_metered_one(server: DemoServer, tmp_path: Path, call: Any, endpoint: str) -> None:
    """What the tracker reads of an answer is what the seam reads: the same usage, model, status and cost."""
    meter = Meter()
    openai_meter.install(hosts={"127.0.0.1": "openai"}, meter=meter)
    with OpenAI(base_url=server.base_url, api_key="demo", max_retries=0) as client:
        answer = call(client)
    openai_meter.uninstall()
    mine = TokenTracker(tmp_path)
    mine.track_response(answer, "a")
    (measured,), (tracked,) = meter.calls, mine.meter.calls
    assert tracked.endpoint == measured.endpoint == endpoint
    for name in ("usage", "model", "status", "service_tier", "response_id", "cost_pico", "cost_status", "usage_source"):
        assert getattr(tracked, name) == getattr(measured, name), name


def test_unread_streaming_response_is_not_read(client: OpenAI, mine: TokenTracker) -> None:
    """It belongs to the program; after that it is read from memory."""
    with client.responses.with_streaming_response.create(model="gpt-5-nano", input="Bonjour") as raw:
        mine.track_response(raw)
        assert not raw.http_response.is_stream_consumed
        usage = raw.parse().usage
    assert mine.meter.totals.unmeasured_calls == 1
    mine.track_response(raw)
    assert usage is not None
    assert mine.meter.totals.total_tokens == usage.total_tokens


@pytest.mark.anyio
async def test_async_raw_response_is_read(server: DemoServer, mine: TokenTracker) -> None:
    """The raw response of an async client is read without waiting for it."""
    async with AsyncOpenAI(base_url=server.base_url, api_key="demo", max_retries=0) as client:
        raw = await client.chat.completions.with_raw_response.create(model="gpt-5-nano", messages=MESSAGES)
        mine.track_response(raw)
    assert mine.meter.calls[0].usage.known


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def test_background_response_is_counted_once_when_finished(client: OpenAI, mine: TokenTracker) -> None:
    """However often it is tracked before."""
    response = client.responses.create(model="gpt-5-nano", input="Bonjour", background=True)
    assert mine.track_response(response) is None
    while response.status in ("queued", "in_progress"):
        assert mine.meter.totals.calls == 0
        response = client.responses.retrieve(response.id)
        mine.track_response(response)
    assert mine.track_response(response) is None
    assert mine.meter.totals.calls == 1
    assert response.usage is not None
    assert mine.meter.totals.total_tokens == response.usage.total_tokens


def test_response_tracked_twice_counts_once(mine: TokenTracker) -> None:
    """Also when it was read again; others count, even without an id."""
    assert mine.track_response(nano(), "a") is not None
    assert mine.track_response(nano(), "b") is None
    assert mine.track_response(dict(nano())) is None
    assert mine.track_response(nano(2)) is not None
    assert mine.track_response(nano(created_at=2)) is not None  # hosts that give every answer the same id
    assert mine.track_response(nano(usage={"input_tokens": 1, "output_tokens": 1})) is not None
    without = {"usage": {"input_tokens": 1, "output_tokens": 0}}
    assert mine.track_response(without) is not None
    assert mine.track_response(without) is not None
    assert mine.meter.totals.calls == 6


def test_response_tracked_by_many_threads_counts_once(mine: TokenTracker) -> None:
    """Of one response that many threads track, one counts; no other is lost."""
    start = threading.Barrier(8)

    def track(thread: int) -> int:
        start.wait()
        found = [mine.track_response(nano(number)) for number in range(50)]
        found += [mine.track_response(nano(1_000 * (thread + 1) + number)) for number in range(50)]
        return sum(call is not None for call in found)

    with ThreadPoolExecutor(8) as pool:
        counted = sum(pool.map(track, range(8)))
    assert counted == mine.meter.totals.calls == 50 + 8 * 50


def test_given_model_is_the_requested_one_and_the_answer_sets_the_price(mine: TokenTracker) -> None:
    """The argument says what was asked for; the response, if it names a model, what is paid."""
    mine.track_response(nano(model="gpt-5-nano-2025-08-07"), model="gpt-5-nano")
    mine.track_response(nano(2, model=None), model="gpt-5-nano")
    mine.track_response(nano(3))
    one, two, three = mine.meter.calls
    assert (one.model, one.requested_model) == ("gpt-5-nano-2025-08-07", "gpt-5-nano")
    assert (two.model, two.requested_model) == ("gpt-5-nano", "gpt-5-nano")
    assert (three.model, three.requested_model) == ("gpt-5-nano", None)
    assert mine.meter.totals.cost == 3 * Decimal("0.00145")
    assert {detail["model"] for detail in mine.to_dict()["calls_detail"]} == {"gpt-5-nano"}


def test_model_that_is_not_text_raises(mine: TokenTracker) -> None:
    """Nothing is counted: the response can be tracked again."""
    with pytest.raises(ConfigurationError, match="model=5"):
        mine.track_response(nano(), model=5)  # type: ignore[arg-type]
    assert mine.track_response(nano()) is not None


def test_agent_with_a_text_form_is_recorded_as_text(mine: TokenTracker) -> None:
    """Agents may be numbers; what has no text form is left out, and the response is counted."""
    first, second = mine.track_response(nano(), agent_name=5), mine.track_response(nano(2), operation=["x"])
    assert first is not None
    assert second is not None
    assert (first.agent, second.operation) == ("5", "unknown")


def test_attribution_comes_from_the_blocks_around(mine: TokenTracker) -> None:
    """Given names take precedence."""
    with openai_meter.track("night", agent="outer", operation="o", user="u", team="x"):
        mine.track_response(nano(1))
        mine.track_response(nano(2), "given", None)
    mine.track_response(nano(3), None, "")
    assert [(call.agent, call.operation, call.user, dict(call.tags)) for call in mine.meter.calls] == [
        ("outer", "o", "u", {"team": "x"}),
        ("given", "o", "u", {"team": "x"}),
        ("unknown", "unknown", None, {}),
    ]


def test_fault_while_reading_counts_an_unknown_call(mine: TokenTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program gets no error."""
    faults.reraise = False
    monkeypatch.setattr("openai_meter.usage.external._row", lambda _: 1 / 0)
    call = mine.track_response(nano(), "a")
    assert isinstance(call, Call)
    assert not call.usage.known
    assert faults.count() == 1


# --- beside a meter ---------------------------------------------------------------------------------------------------


def test_metered_call_is_reused_and_counted_once_in_each(client: OpenAI, meter: Meter) -> None:
    """The tracker has the measured record, under its own agent; the count of the meter does not change."""
    mine = TokenTracker()
    response = client.chat.completions.create(model="gpt-5.4-mini", messages=MESSAGES)
    before = meter.totals
    call = mine.track_response(response, "a", "o")
    (measured,) = meter.calls
    assert meter.totals == before
    assert call is not None
    assert (call.id, call.duration, call.provider, call.host) == (
        measured.id, measured.duration, measured.provider, "127.0.0.1",
    )  # fmt: skip
    assert (call.agent, call.operation, measured.agent) == ("a", "o", None)
    assert mine.meter.totals.calls == 1


def test_metered_call_keeps_its_cost(client: OpenAI) -> None:
    """Prices of the meter (a host's provider, a discount) apply in the tracker; PRICING takes precedence."""
    meter = openai_meter.install(hosts={"127.0.0.1": "openai"}, discount="0.5")
    mine = TokenTracker()
    for _ in range(3):
        mine.track_response(client.responses.create(model="gpt-5.4-mini", input="Bonjour"))
        assert mine.meter.cost == meter.cost
    mine.track_response(nano())  # not metered: the discount holds for it, too
    assert mine.meter.calls[-1].cost == Decimal("0.00145") / 2
    mine.PRICING["gpt-5.4-mini"] = {"input": 1_000_000, "output": 0}
    mine.track_response(client.responses.create(model="gpt-5.4-mini", input="Bonjour"))
    assert mine.meter.cost is not None
    assert mine.meter.calls[-1].cost == mine.meter.calls[-1].usage.input_tokens


def test_metered_call_is_reused_from_a_block(client: OpenAI) -> None:
    """Without install(), the record comes from a block around."""
    mine = TokenTracker()
    with openai_meter.track("night", agent="night") as block:
        mine.track_response(client.responses.create(model="gpt-5.4-mini", input="Bonjour"))
    assert mine.meter.calls[0].id == block.calls[0].id
    assert mine.meter.calls[0].agent == "night"
    assert block.totals.calls == 1


def test_tracker_with_an_installed_meter_counts_once(client: OpenAI) -> None:
    """A program may install the tracker's own meter: then tracking adds nothing to what is counted."""
    mine = TokenTracker()
    openai_meter.install(meter=mine.meter)
    response = client.responses.create(model="gpt-5.4-mini", input="Bonjour")
    assert mine.track_response(response, "a") is None
    assert mine.meter.totals.calls == 1
    openai_meter.uninstall()
    openai_meter.wrap(client, meter=mine.meter)
    for number in (2, 3):
        assert mine.track_response(client.responses.create(model="gpt-5.4-mini", input="Bonjour")) is None
        assert mine.meter.totals.calls == number
    assert mine.track_response(nano()) is not None
    assert mine.meter.totals.calls == 4


def test_usage_of_the_program_completes_a_metered_stream(client: OpenAI, meter: Meter) -> None:
    """Where the meter saw no usage and the program has it, the tracker takes the program's."""
    stream = client.chat.completions.create(model="gpt-5.4-mini", messages=MESSAGES, stream=True)
    *_, last = stream
    mine = TokenTracker()
    whole = {"id": last.id, "model": last.model, "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    mine.track_response(whole)
    assert meter.calls[0].usage_source != "api"
    (call,) = mine.meter.calls
    assert (call.usage, call.usage_source, call.id) == (Usage(10, 5, 15), "api", meter.calls[0].id)


# --- prices -----------------------------------------------------------------------------------------------------------


def test_edited_price_applies_to_the_next_response(mine: TokenTracker) -> None:
    """An edit of PRICING, for all trackers or for one, holds from the next response; a row taken out is gone."""
    costs = []

    def ask() -> None:
        mine.track_response(nano(len(costs), id=f"r{len(costs)}"), model="gpt-5-nano")
        assert mine.meter.cost is not None
        costs.append(mine.meter.calls[-1].cost)

    ask()
    tracker.PRICING["gpt-5-nano"] = {"input": 0.10, "output": 0.40}
    ask()
    mine.PRICING["gpt-5-nano"] = {"input": 0.20, "output": 0.80}
    ask()
    mine.PRICING["gpt-5-nano"]["input"] = 1  # type: ignore[index]
    ask()
    del mine.PRICING["gpt-5-nano"]
    ask()
    tracker.PRICING.clear()
    ask()
    expected = ["0.00145", "0.0017", "0.0034", "0.0074", "0.0017", "0.00145"]
    assert costs == [Decimal(one) for one in expected]


def test_price_of_a_model_applies_to_its_snapshots(mine: TokenTracker) -> None:
    """The API answers with a snapshot's name, also where the program does not say what it asked for."""
    mine.PRICING["gpt-5-nano"] = Price(input=0.10, output=0.40)
    mine.track_response(nano(1, model="gpt-5-nano-2025-08-07"))
    mine.track_response(nano(2, model="gpt-4o-mini-2024-07-18"))
    mine.track_response(nano(3, model="gpt-5-nano-2025-08-07"))
    assert mine.meter.cost is not None
    assert [call.cost for call in mine.meter.calls] == [Decimal("0.0017"), Decimal("0.00255"), Decimal("0.0017")]


def test_price_table_can_be_replaced(mine: TokenTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program may set PRICING itself, of the module or of the tracker."""
    monkeypatch.setattr(tracker, "PRICING", {"m": {"input": 1, "output": 1}})
    mine.track_response(nano(1, model="m"))
    mine.PRICING = {"m": {"input": 2, "output": 2}}
    mine.track_response(nano(2, model="m"))
    assert mine.meter.cost == Decimal("0.008") + Decimal("0.016")


@pytest.mark.parametrize(
    "row", [5, {}, {"input": -1}, {"input": "dear"}, {"entrée": 1}, {"input": float("nan")}, [0.1, 0.4], None]
)
def test_unusable_price_raises_with_its_row(mine: TokenTracker, row: Any) -> None:
    """The message says which row; nothing is counted, so that the response can be tracked once it is corrected."""
    mine.PRICING["m"] = row
    with pytest.raises(ConfigurationError):
        mine.track_response(nano())
    with pytest.raises(ConfigurationError):
        TokenTracker(pricing={"m": row})
    del mine.PRICING["m"]
    assert mine.track_response(nano()) is not None


# --- the report -------------------------------------------------------------------------------------------------------


def test_report_has_the_keys_of_the_guide(mine: TokenTracker) -> None:
    """The guide's keys come first, in its order and types; times are local, to the second, without a zone."""
    mine.PRICING["gpt-5-nano"] = {"input": 4, "output": 4}
    mine.track_response(nano(), "need_analysis", "analyze_needs", "gpt-5-nano")
    assert mine.meter.cost == Decimal("0.032")
    path = mine.save_report()
    report = json.loads(path.read_text(encoding="utf-8"))
    names = ["session_start", "total_calls", "total_input_tokens", "total_output_tokens", "total_tokens", "total_cost"]
    assert list(report)[:8] == [*names, "calls_by_agent", "calls_detail"]
    assert [report[name] for name in names[1:]] == [1, 5_000, 3_000, 8_000, 0.032]
    assert list(report["calls_by_agent"]) == ["need_analysis"]
    agent = report["calls_by_agent"]["need_analysis"]
    assert list(agent.items())[:3] == [("calls", 1), ("total_tokens", 8_000), ("total_cost", 0.032)]
    (detail,) = report["calls_detail"]
    assert list(detail.items())[1:8] == [
        ("agent_name", "need_analysis"),
        ("operation", "analyze_needs"),
        ("model", "gpt-5-nano"),
        ("input_tokens", 5_000),
        ("output_tokens", 3_000),
        ("total_tokens", 8_000),
        ("cost_usd", 0.032),
    ]
    now = datetime.now().astimezone().replace(tzinfo=None)
    for text in (report["session_start"], detail["timestamp"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text)
        assert abs((datetime.fromisoformat(text) - now).total_seconds()) < 600
    assert report["cost"] == detail["call"]["cost"] == "0.032"
    assert Call.from_dict(detail["call"]).usage == Usage(5_000, 3_000, 8_000)


def test_agents_sum_up_to_the_session(mine: TokenTracker) -> None:
    """Calls, tokens and exact costs of all agents are those of the session, with one row for who is not named."""
    for number, agent in enumerate(["a", "b", "a", "", "c"]):
        mine.track_response(nano(number), agent)
    report = mine.to_dict()
    agents = report["calls_by_agent"]
    assert list(agents) == ["a", "b", "unknown", "c"]
    assert sum(one["calls"] for one in agents.values()) == report["total_calls"] == 5
    assert sum(one["total_tokens"] for one in agents.values()) == report["total_tokens"] == 40_000
    assert sum(Decimal(one["cost"]) for one in agents.values()) == Decimal(report["cost"]) == 5 * Decimal("0.00145")


def test_report_shows_unknown_costs_as_null(mine: TokenTracker) -> None:
    """Unknown costs are null, and the calls that the sums lack are numbered."""
    mine.track_response({"id": "x", "usage": None}, model="gpt-5-nano")
    report = mine.to_dict()
    for sums in (report, report["calls_by_agent"]["unknown"]):
        assert (sums["total_tokens"], sums["total_cost"]) == (None, None)
    mine.track_response(nano(2, model="no-such-model"))
    report = mine.to_dict()
    assert (report["total_cost"], report["cost"]) == (None, None)
    agent = mine.to_dict()["calls_by_agent"]["unknown"]
    assert (agent["total_tokens"], agent["total_cost"], agent["unmeasured_calls"]) == (8_000, None, 1)
    assert (report["unmeasured_calls"], report["unpriced_calls"], report["total_calls"]) == (1, 2, 2)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_report_without_calls_has_zeros(mine: TokenTracker) -> None:
    """A session without calls has zeros, and can be printed and saved."""
    report = json.loads(mine.save_report().read_text(encoding="utf-8"))
    assert (report["total_calls"], report["total_tokens"], report["total_cost"]) == (0, 0, 0.0)
    assert (report["calls_by_agent"], report["calls_detail"]) == ({}, [])
    file = io.StringIO()
    mine.print_summary(file=file)
    assert file.getvalue()


def test_reports_of_the_same_second_have_different_names(mine: TokenTracker) -> None:
    """Reports of the same second have names of their own, and nothing else is left in the directory."""
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: mine.save_report(), range(24)))
    assert len(set(paths)) == 24
    assert sorted(mine.output_dir.iterdir()) == sorted(paths)
    assert all(json.loads(path.read_text(encoding="utf-8"))["total_calls"] == 0 for path in paths)


def test_report_names_are_unique_without_hard_links(mine: TokenTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no hard links, names are still taken by one report each."""

    def no_links(*_: Any) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    paths = [mine.save_report() for _ in range(3)]
    assert sorted(mine.output_dir.iterdir()) == sorted(set(paths))
    assert [json.loads(path.read_text(encoding="utf-8"))["total_calls"] for path in paths] == [0, 0, 0]


def test_given_report_path_is_replaced(mine: TokenTracker, tmp_path: Path) -> None:
    """A path of the caller's is that of the report, with the folders on the way to it."""
    path = tmp_path / "deep" / "down" / "report.json"
    assert mine.save_report(path) == path
    mine.track_response(nano())
    assert mine.save_report(str(path)) == path
    assert json.loads(path.read_text(encoding="utf-8"))["total_calls"] == 1
    assert list(path.parent.iterdir()) == [path]


def test_unsavable_report_raises_with_the_remedy(tmp_path: Path) -> None:
    """The error names the place and the way out, and what stood there is as it was."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="pass another path") as caught:
        TokenTracker(tmp_path / "file").save_report()
    assert caught.value.filename == str(tmp_path / "file")
    with pytest.raises(OSError, match="pass another path"):
        TokenTracker().save_report(tmp_path / "file" / "report.json")
    assert (tmp_path / "file").read_text() == "mine"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_report_contains_no_prompt_and_no_key(client: OpenAI, mine: TokenTracker) -> None:
    """Neither what was asked nor what was answered nor the key is in the file."""
    response = client.chat.completions.create(
        model="gpt-5-nano", messages=[{"role": "user", "content": "my secret prompt"}]
    )
    mine.track_response(response, "a")
    text = mine.save_report().read_text(encoding="utf-8")
    said = response.choices[0].message.content
    assert said
    assert said not in text
    assert "secret" not in text
    assert "demo" not in text


def test_report_details_have_recent_calls_only(tmp_path: Path) -> None:
    """The totals have all; the number of calls without detail is given."""
    mine = TokenTracker(tmp_path, recent=2)
    for number in range(5):
        mine.track_response(nano(number))
    report = mine.to_dict()
    assert (report["total_calls"], len(report["calls_detail"]), report["calls_without_detail"]) == (5, 2, 3)
    assert [detail["call"]["response_id"] for detail in report["calls_detail"]] == ["resp_3", "resp_4"]


# --- the global tracker -----------------------------------------------------------------------------------------------


def test_global_tracker_is_always_the_same() -> None:
    """Whichever thread asks first, all get the same tracker."""
    start = threading.Barrier(8)

    def ask(_: int) -> TokenTracker:
        start.wait()
        return get_global_tracker()

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))
    assert found == {get_global_tracker()}
    assert get_global_tracker().output_dir == Path("outputs/token_tracking")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forked_child_of_a_tracker_counts_its_own_calls(mine: TokenTracker, tmp_path: Path) -> None:
    """A child starts from zero, with the prices of its parent, while the parent's lock is held by another thread."""
    mine.track_response(nano(1))
    assert mine.meter.cost is not None
    held, go_on = threading.Event(), threading.Event()
    mine._apply_pricing(None)
    mine.PRICING["m"] = {"input": 1, "output": 1}
    mine.track_response(nano(2, model="m"))
    lock = mine._locks[os.getpid()]

    def hold() -> None:
        with lock:
            held.set()
            go_on.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        mine.PRICING["n"] = {"input": 1, "output": 1}
        mine.track_response(nano(3, model="n"))
        (tmp_path / "child").write_text(f"{mine.meter.totals.calls} {mine.meter.cost}")
        os._exit(0)
    os.waitpid(child, 0)
    go_on.set()
    thread.join()
    assert (tmp_path / "child").read_text() == "1 0.008"
    assert mine.meter.totals.calls == 2
