"""The secrets of a ledger's URL are in no output: logs, errors, values, the command line, HTTP."""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from pathlib import Path

import pytest

pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: the ledger is NOT tested")
pytest.importorskip("psycopg", reason="the extra [postgres] is not installed: PostgreSQL is NOT tested")
from ledgers import call

import openai_meter
from openai_meter.errors import LedgerError, MeterError
from openai_meter.ledger import Ledger

SECRET = "hunter2-xyz"
URLS = [
    f"postgresql://me:{SECRET}@127.0.0.1:1/none",
    f"postgresql://me@127.0.0.1:1/none?password={SECRET}",
    f"postgresql://me:other@127.0.0.1:1/none?sslmode=prefer&sslpassword={SECRET}",
    f"postgresql+psycopg://127.0.0.1:1/none?user=me&passwd={SECRET}&application_name=x",
]


@pytest.mark.parametrize("url", URLS)
def test_secret_of_a_url_is_in_no_error_and_no_log_line(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither an exception, nor a log line, nor any text of a ledger and its engine has the secret."""
    caplog.set_level(logging.DEBUG)
    ledger = Ledger(url, spool=tmp_path)
    texts = [repr(ledger), ledger.url, repr(ledger.engine), str(ledger.engine.url), repr(ledger.stats)]
    for read in (ledger.prepare, ledger.report, ledger.totals, lambda: list(ledger.calls()), ledger.model_stats):
        with pytest.raises(LedgerError) as error:
            read()
        texts += traceback.format_exception(error.value)
    openai_meter.install(ledger=ledger)
    ledger.add(call(1))
    ledger.flush(300)
    ledger.close()
    assert "the ledger is away" in caplog.text
    assert SECRET not in "\n".join([*texts, caplog.text])
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "url", ["mysql://me:{}@h/x", "postgresql://me:{}@h:port/x", "postgres//me:{}@h/x?password={}", "password={}"]
)
def test_wrong_url_is_refused_without_the_secret(url: str) -> None:
    """A URL that cannot be used is not repeated with its secrets."""
    with pytest.raises(MeterError) as error:
        Ledger(url.replace("{}", SECRET))
    assert SECRET not in str(error.value)


COMMANDS = [
    ("report",),
    ("export",),
    ("forecast",),
    ("compare", "7d", "today"),
    ("prune", "2026-01-01"),
    ("reprice",),
    ("top", "--once"),
    ("statusline",),
]


@pytest.mark.parametrize("args", COMMANDS, ids=lambda args: args[0])
def test_secret_of_a_url_is_in_no_output_of_a_command(
    args: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The output of a command about a ledger that cannot be reached does not have the secret."""
    from openai_meter.cli import app

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for url in URLS:
        monkeypatch.setattr(sys, "argv", ["openai-meter", *args, "--ledger", url])
        with contextlib.suppress(SystemExit):
            app.main()
        written = capsys.readouterr()
        assert written.out or written.err
        assert SECRET not in written.out + written.err


def test_secret_of_a_url_is_in_no_answer_of_the_server(tmp_path: Path) -> None:
    """A server whose ledger cannot be reached reports that without the secret."""
    pytest.importorskip("starlette", reason="no starlette here: the server is NOT tested")
    pytest.importorskip("plotly", reason="no plotly here: the server is NOT tested")
    from server_client import client

    for url in URLS:
        ledger = Ledger(url, spool=tmp_path)
        for path in ("/api/stats", "/api/report", "/api/calls", "/metrics", "/healthz", "/"):
            response = client(ledger=ledger).get(path)
            assert SECRET not in response.text
        ledger.close()
