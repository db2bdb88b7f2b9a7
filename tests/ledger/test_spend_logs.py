"""Spend logs of a LiteLLM proxy, as they are imported."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

pytest.importorskip("sqlalchemy", reason="needs openai-meter[ledger]: spend logs are NOT tested")

from openai_meter import Call, ConfigurationError, PriceBook
from openai_meter.ledger import Ledger, imports

ROW: dict[str, Any] = {
    "request_id": "chatcmpl-B1", "call_type": "acompletion", "api_key": "88dc28d0f03", "spend": 0.0002,
    "total_tokens": 1_100, "prompt_tokens": 1_000, "completion_tokens": 100,
    "startTime": "2026-10-31T12:00:00.250000", "endTime": "2026-10-31T12:00:02.750000",
    "completionStartTime": "2026-10-31T12:00:00.750000", "model": "gpt-4o-mini", "model_group": "small",
    "custom_llm_provider": "openai", "api_base": "https://api.openai.com/v1/", "user": "owner-3",
    "metadata": {"usage_object": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100,
                                  "prompt_tokens_details": {"cached_tokens": 600}}},
    "cache_hit": "False", "cache_key": "", "request_tags": ["env:prod", "beta", "User-Agent: curl"],
    "team_id": "search", "end_user": "ann", "session_id": "s-1", "agent_id": None, "status": "success",
    "messages": {"secret": "prompt"}, "response": {"secret": "answer"},
}  # fmt: skip


def as_csv(*rows: dict[str, Any], separator: str = ",") -> str:
    """Rows as a database client writes them: JSON columns as text, nothing for NULL."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(ROW)
    for row in rows:
        texts = (json.dumps(value) if isinstance(value, dict | list) else value for value in row.values())
        writer.writerow("" if value is None else value for value in texts)
    return file.getvalue()


FORMS = {
    "JSON lines": lambda *rows: "".join(json.dumps(row) + "\n" for row in rows),
    "JSON array": lambda *rows: json.dumps(rows),
    "JSON array over lines": lambda *rows: json.dumps(rows, indent=2),
    "CSV": as_csv,
    "CSV with semicolons": lambda *rows: as_csv(*rows, separator=";"),
    "CSV of Excel": lambda *rows: "\ufeff" + as_csv(*rows),
}


@pytest.fixture
def read(tmp_path: Path) -> Iterator[Any]:
    """Reads a text as a file."""

    def calls(text: str, **options: Any) -> list[Call]:
        file = tmp_path / "log"
        file.write_text(text, encoding="utf-8")
        return list(imports.read(file, PriceBook(), **options))

    return calls


@pytest.mark.parametrize("form", FORMS)
def test_row_in_any_form_is_the_same_call(form: str, read: Any) -> None:
    """A row is read whole from JSON and CSV: times, tokens with cached ones, attribution and tags; no key, no text."""
    (call,) = read(FORMS[form](ROW))
    assert (call.started_at, call.duration) == (datetime(2026, 10, 31, 12, 0, 0, 250_000, UTC), 2.5)
    assert (call.stream, call.time_to_first_token, call.response_id) == (True, 0.5, "chatcmpl-B1")
    assert (call.endpoint, call.provider, call.host) == ("chat.completions", "openai", "api.openai.com")
    assert (call.model, call.requested_model, call.status) == ("gpt-4o-mini", "small", "ok")
    usage = call.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (1_000, 100, 600)
    assert (call.user, call.session) == ("ann", "s-1")
    assert call.tags == {"env": "prod", "beta": "true", "team": "search", "litellm_user": "owner-3"}
    assert call.cost == Decimal("0.000165")  # 400 x 0.15 + 600 x 0.075 + 100 x 0.60, per million
    assert "secret" not in str(call.to_dict())
    assert "88dc28d0f03" not in str(call.to_dict())


def test_rows_that_are_imported_twice_are_stored_once(read: Any, tmp_path: Path) -> None:
    """The ids follow from the rows: CSV after JSON lines adds nothing."""
    rows = [ROW | {"request_id": f"chatcmpl-{n}"} for n in range(5)]
    ledger = Ledger(f"sqlite:///{tmp_path / 'usage.db'}")
    assert [ledger.import_calls(read(FORMS[form](*rows))) for form in ("JSON lines", "CSV", "JSON array")] == [5, 0, 0]
    assert ledger.totals().calls == 5
    ledger.close()


@pytest.mark.parametrize(("changes", "expected"), [
    ({"spend": 0.5}, ("0.000165", "priced", "genai-prices")),  # our price, not theirs
    ({"model": "openai/gpt-4o-mini"}, ("0.000165", "priced", "genai-prices")),
    ({"model": "mistral-x", "custom_llm_provider": "mistral", "spend": 0.5}, ("0.5", "priced", "litellm")),
    ({"model": "mistral-x", "custom_llm_provider": "mistral", "spend": 0.0}, (None, "unpriced", None)),
    ({"cache_hit": "True", "spend": 0.0}, ("0", "free", "provider")),
    ({"status": "failure", "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "spend": 0.0, "metadata": {}},
     ("0", "free", None)),
    ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "spend": 0.0, "metadata": {}},
     (None, "unpriced", None)),
    ({"call_type": "aimage_generation", "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "spend": 0.04,
      "model": "house-image", "metadata": {}}, ("0.04", "priced", "litellm")),
])  # fmt: skip
def test_cost_of_a_row_is_ours_else_the_one_it_states(changes: Any, expected: Any, read: Any) -> None:
    """Our price counts; where there is none, the spend of the row; a spend of 0 without a price is unknown."""
    (call,) = read(json.dumps(ROW | changes))
    cost, status, source = expected
    assert (call.cost, call.cost_status) == (None if cost is None else Decimal(cost), status)
    assert (call.price_source or "").startswith(source or "")


def test_failed_row_is_an_error_with_its_class(read: Any) -> None:
    """A failed request is an error, without tokens and without a cost."""
    failed = {"status": "failure", "metadata": {"error_information": {"error_class": "RateLimitError"}},
              "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "spend": 0}  # fmt: skip
    (call,) = read(json.dumps(ROW | failed))
    assert (call.status, call.error_type, call.usage.known) == ("error", "RateLimitError", False)


def test_times_without_an_offset_are_utc_unless_a_timezone_is_named(read: Any) -> None:
    """LiteLLM writes UTC; a client of the database may write local times."""
    text = json.dumps(ROW | {"startTime": "2026-10-31 12:00:00", "endTime": "2026-10-31 12:00:01"})
    assert read(text)[0].started_at == datetime(2026, 10, 31, 12, tzinfo=UTC)
    assert read(text, zone=ZoneInfo("Europe/Paris"))[0].started_at == datetime(2026, 10, 31, 11, tzinfo=UTC)


@pytest.mark.parametrize(("text", "message"), [
    (json.dumps(ROW) + "\n" + json.dumps(ROW | {"prompt_tokens": "many"}), "line 2: prompt_tokens is 'many'"),
    (json.dumps(ROW | {"startTime": "soon"}), "line 1: startTime is 'soon', which is not a time"),
    (json.dumps(ROW | {"spend": "1e99999"}), "spend is '1e99999', which is not an amount"),
    (json.dumps([ROW, {**ROW, "request_id": None}]), "[1]: request_id is missing"),
    (as_csv(ROW, ROW | {"metadata": "{"}), "line 3: metadata is '{', which is not JSON"),
    (as_csv(ROW) + "a,b\r\n", "line 3: it does not have the 26 columns of the header"),
])  # fmt: skip
def test_row_that_cannot_be_read_is_named_by_its_line(text: str, message: str, read: Any) -> None:
    """An error names the file, the line, the value, and that nothing counts twice."""
    with pytest.raises(ConfigurationError) as error:
        read(text)
    assert message in str(error.value)
