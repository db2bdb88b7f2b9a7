"""``openai-meter top`` and ``statusline``: what is shown, from where, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from programs import ENVIRONMENT, PYTHON
from pulses import DOLLAR, call, metered, take
from rich.cells import cell_len
from rich.console import Console

from openai_meter import ConfigurationError, Threshold
from openai_meter.cli.live import marks
from openai_meter.cli.live.feeds import AwayError, Source, feed_of
from openai_meter.cli.live.frames import Page, frame
from openai_meter.cli.live.line import FIELDS, checked_form
from openai_meter.cli.live.options import parsed_duration
from openai_meter.core.locale import language
from openai_meter.metering.pulse import Pulse

Run = Callable[..., str]


# --- the page ---------------------------------------------------------------------------------------------------------


def page(pulse: Pulse | None, width: int = 80, height: int | None = None, lang: str = "en", **more: Any) -> list[str]:
    """The lines of a page as a terminal shows them."""
    console = Console(width=width, highlight=False, markup=False, emoji=False, force_terminal=False)
    with console.capture() as captured:
        console.print(frame(pulse, Page(language(lang), "here", width, height, **more)))
    return captured.get().splitlines()


def busy(**settings: Any) -> Pulse:
    calls = [call(n, DOLLAR // 100 * (n % 5 + 1), 1234, model=f"model-{n % 5}") for n in range(99, -1, -1)]
    return take(metered(*calls, **settings))


def test_live_page_has_today_groups_and_limits() -> None:
    """Today, the start, the last minutes, a row for each model by its cost, and the limits."""
    lines = [line.rstrip() for line in page(busy(thresholds={"cost": 2, "calls": 200, "errors": None}))]
    assert lines[0].startswith("openai-meter  here (this process)")
    assert lines[1] == "Today        $3.00  100 calls  123k tokens"
    assert lines[2] == "Since start  $3.00  100 calls  123k tokens"
    assert lines[3].startswith("Per minute   $0.600  20 calls  25k tokens  ▁")
    assert lines[4] == "! 1 limit exceeded"
    assert lines[6].split() == ["Model", "$/min", "Tokens/min", "Calls", "Errors", "Cost", "Share", "Trend"]
    assert [line.split()[0] for line in lines[7:12]] == [f"model-{n}" for n in (4, 3, 2, 1, 0)]
    assert lines[7].startswith("model-4  $0.2000        4.9k     20       -  $1.00  ██      33%  ▁")
    assert lines[13] == "calls        ██████████             50%  100 of 200"
    assert lines[14] == "cost         ████████████████████  150%  $3.00 of $2.00"


@pytest.mark.parametrize("lang", ["en", "fr"])
@pytest.mark.parametrize("height", [8, 15, 24, None])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
def test_live_page_fits_the_terminal(width: int, height: int | None, lang: str) -> None:
    """No line is wider than the terminal, and the page is not longer, whatever names there are."""
    names = [
        "gpt-5-mini",
        "日本語の名前はとても幅が広い" * 4,
        "x" * 300,
        "[red]bold[/red]",
        *(f"m{n}" for n in range(70)),
    ]
    calls = [call(n * 3, 10**9 * n, model=name, status="error") for n, name in enumerate(names)][::-1]
    pulse = take(metered(*calls, call(1, None, None, model="unpriced"), thresholds=[Threshold("cost", 1)]))
    lines = page(pulse, width, height, lang, interval=1.0, trouble="gone; " * 60)
    assert max(map(cell_len, lines)) <= width
    if height is not None and height > 12:
        assert len(lines) <= height
    if height is not None:
        assert any("more" in line or "de plus" in line for line in lines)


def test_page_of_eighty_columns_keeps_all_but_the_share() -> None:
    """At 80 columns long names leave room for all but the share."""
    calls = [call(n, 12 * DOLLAR, 999_999, model=f"{n % 3} a model with quite a long name") for n in range(50, 0, -1)]
    lines = page(take(metered(*calls)))
    head = next(line for line in lines if line.startswith("Model"))
    assert head.split() == ["Model", "$/min", "Tokens/min", "Calls", "Errors", "Cost", "Trend"]


def test_names_on_a_live_page_are_escaped() -> None:
    """Neither markup nor terminal sequences of a name have an effect."""
    lines = "\n".join(page(take(metered(call(1, model="[red]a\x1b[2J\nb[/red]"))), 140))
    assert "[red]a�[2J�b[/red]" in lines
    assert "\x1b" not in lines


def test_page_has_words_for_missing_calls_and_names() -> None:
    """An idle program, calls without a name, folded groups and forgotten calls."""
    assert any("No call in the last 5 minutes." in line for line in page(take(metered())))
    assert any("Aucun appel" in line for line in page(take(metered()), lang="fr"))
    assert any("(unattributed)" in line for line in page(take(metered(call(1)), "agent")))
    many = take(metered(*(call(1, user=f"u{n}") for n in range(80))), "user")
    assert any("(30 others)" in line for line in page(many))
    few = take(metered(*(call(n) for n in range(50, 0, -1)), recent=5))
    assert any("only the last 5 seconds" in line for line in page(few, interval=1.0))
    assert any("waiting for here" in line for line in page(None))
    assert any("! it is gone" in line for line in page(None, trouble="it is gone"))


def test_unknown_cost_on_a_page_is_a_question_mark() -> None:
    """A sum that includes one has a plus."""
    lines = page(take(metered(call(2, None, None, model="dark"), call(1))), 140)
    assert lines[1].startswith("Today        $1.00+  2 calls  100+ tokens")
    (dark,) = (line for line in lines if line.startswith("dark"))
    assert dark.split()[1:7] == ["?", "?", "1", "-", "?", "?"]


def test_page_in_ascii_has_no_block_characters() -> None:
    """Where the encoding has no blocks, the page has none."""
    lines = page(busy(), encoding="ascii", interval=1.0, lang="fr")
    assert all(line.isascii() for line in lines)
    assert any("##" in line for line in lines)


def test_sparks_and_bars_show_zero_small_and_unknown_values() -> None:
    """Zero is low, an unknown value is marked, the largest is full; a small value is visible."""
    assert marks.spark([0, 0.001, 5, None, 10], 5) == "▁▂▅?█"
    assert marks.spark([0, 1, None, None, 0, 2], 3) == "▅?█"
    assert marks.spark([0, 0], 2) == "▁▁"
    assert marks.spark([0, 1], 2, plain=True) == "_@"
    assert [marks.bar(share, 4) for share in (0, 0.001, 0.5, 1, 7)] == ["    ", "▏   ", "██  ", "████", "████"]
    assert marks.bar(0.5, 4, plain=True) == "##.."


# --- a server to look at ----------------------------------------------------------------------------------------------


class Server:
    """A server that answers what a test wants."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, b"{}")
        self.location: str | None = None
        self.requests: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Authorization")))
                status, body = outer.answer
                self.send_response(status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def shows(self, pulse: Pulse) -> None:
        self.answer = 200, json.dumps(pulse.to_dict()).encode()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.delenv("OPENAI_METER_TOKEN", raising=False)
    made = Server()
    made.shows(busy(thresholds={"cost": 2, "calls": 200, "errors": None}))
    yield made
    made.close()


@pytest.fixture
def run(command: Run) -> Run:
    """Runs a command, in this process; what it wrote."""
    return command


def test_live_view_requests_a_pulse_of_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The query has group and window; the token is sent as a bearer token, below any prefix of the server."""
    monkeypatch.setenv("OPENAI_METER_TOKEN", "s3cret")
    feed = feed_of(Source(url=f"{server.url}/meter/", by="tag:a b", window=60))
    assert feed.pulse().recent.calls == 100
    assert server.requests == [("/meter/api/live?group=tag%3Aa+b&window=60", "Bearer s3cret")]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [(401, b"", "needs a token"), (500, b"oops", "answered 500"), (200, b"<html>", "its answer is not JSON"),
     (200, b"[]", "not a JSON object"), (200, b'{"at": 1}', "not a server of openai_meter"),
     (400, b'{"error": {"message": "no such group"}}', "answered 400: no such group"),
     (503, b'{"error": "no"}', "answered 503"), (200, b" " * 4_000_001, "not a server")],
)  # fmt: skip
def test_wrong_answer_of_a_server_is_an_error_sentence(server: Server, status: int, body: bytes, message: str) -> None:
    """Whatever a server says that is no pulse is told in a sentence."""
    server.answer = status, body
    with pytest.raises(AwayError, match=message):
        feed_of(Source(url=server.url)).pulse()


def test_redirects_are_not_followed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is sent to the named server only."""
    monkeypatch.setenv("OPENAI_METER_TOKEN", "s3cret")
    server.answer, server.location = (302, b""), f"{server.url}/elsewhere"
    with pytest.raises(AwayError, match="answered 302"):
        feed_of(Source(url=server.url)).pulse()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "source",
    [Source(), Source("sqlite:///a.db", "http://x"), Source(url="ftp://x"), Source(url="http://"), Source(url="x"),
     Source(url="http://x:port"), Source(url="http://x", timezone="UTC"), Source(url="http://x", by="colour"),
     Source(url="http://x", window=5), Source(url="http://x", limits=(Threshold("cost", 1),))],
)  # fmt: skip
def test_unusable_source_raises_with_the_remedy(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is an error that says what can be used."""
    monkeypatch.setenv("OPENAI_METER_LEDGER", "")
    with pytest.raises(ConfigurationError):
        feed_of(source)


def test_durations_are_parsed() -> None:
    """As people write them; other text is an error."""
    assert [parsed_duration(text, "--window") for text in ("30", "0.5s", "5m", "2 min", "1h")] == [
        30,
        0.5,
        300,
        120,
        3600,
    ]
    for text in ("", "0", "-1", "5 days", "1e9", "inf"):
        with pytest.raises(ConfigurationError):
            parsed_duration(text, "--window")


# --- top --------------------------------------------------------------------------------------------------------------


def test_live_once_writes_one_page(server: Server, run: Run) -> None:
    """As JSON it is the pulse."""
    shown = run("top", "--url", server.url, "--once")
    assert "Today        $3.00  100 calls" in shown
    assert "q quits" not in shown
    assert Pulse.from_dict(json.loads(run("top", "--url", server.url, "--once", "--json"))).recent.calls == 100
    assert "Aujourd'hui" in run("top", "--url", server.url, "--once", "--lang", "fr")


def test_live_without_a_usable_source_exits_with_an_error(server: Server, run: Run, tmp_path: Path) -> None:
    """Exit code 1 where there is no source, 2 where it cannot be used; no file is made."""
    server.answer = 500, b""
    assert "answered 500" in run("top", "--url", server.url, "--once", code=1)
    assert "name the source" in run("top", "--once", code=2)
    assert "colour" in run("top", "--once", "--url", server.url, "--by", "colour", code=2)
    assert "length of time" in run("top", "--once", "--url", server.url, "--window", "ages", code=2)
    pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: top of a ledger is NOT tested")
    assert "there is no ledger" in run("top", "--once", "--ledger", f"sqlite:///{tmp_path}/no.db", code=1)
    assert list(tmp_path.iterdir()) == []


def test_live_without_a_terminal_writes_pages(server: Server) -> None:
    """Plain pages follow each other into a pipe until a signal ends it; the loss of a source is written."""
    command = [*PYTHON, "-m", "openai_meter", "top", "--url", server.url, "--interval", "0.1", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True
    ) as program:
        assert program.stdout
        assert program.stderr
        assert [Pulse.from_dict(json.loads(program.stdout.readline())).recent.calls for _ in range(3)] == [100] * 3
        server.answer = 500, b""
        assert "answered 500" in program.stderr.readline()
        server.shows(take(metered(call(1))))
        while json.loads(program.stdout.readline())["recent"]["calls"] != 1:
            pass
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=120)
        assert program.returncode == 128 + signal.SIGTERM


# --- top on a terminal ------------------------------------------------------------------------------------------------

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here: top on a terminal is NOT tested")


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *args: str, width: int = 80) -> None:
        import fcntl
        import struct
        import termios

        self.termios = termios
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        environment = ENVIRONMENT | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
        self.program = subprocess.Popen(
            [*PYTHON, "-m", "openai_meter", *args],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, env=environment, start_new_session=True,
        )  # fmt: skip
        self.text = ""

    def sees(self, wanted: str, seconds: float = 120) -> None:
        """Waits until something is written."""
        import select

        end = time.monotonic() + seconds
        while wanted not in self.text:
            assert time.monotonic() < end, f"{wanted!r} is not in {self.text!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode("utf-8", "replace")

    def restored(self) -> bool:
        return bool(self.termios.tcgetattr(self.slave) == self.before)

    def ends(self, code: int) -> None:
        """The program ends with a code, leaves the screen and the terminal as they were."""
        self.sees("\x1b[?1049l")
        assert self.program.wait(60) == code
        assert self.restored()
        assert self.text.rindex("\x1b[?25h") > self.text.rindex("\x1b[?25l")


@contextmanager
def terminal(*args: str, width: int = 80) -> Iterator[Terminal]:
    made = Terminal(*args, width=width)
    try:
        yield made
    finally:
        made.program.kill()
        made.program.wait()
        os.close(made.master)
        os.close(made.slave)


@pytest.mark.parametrize("key", ["q", "Q", "\x1b", "\x04"])
def test_keys_end_the_live_view(server: Server, key: str) -> None:
    """q ends it cleanly, and so do Escape and Ctrl-D."""
    with terminal("top", "--url", server.url) as place:
        place.sees("q quits")
        assert not place.restored()
        os.write(place.master, key.encode())
        place.ends(0)


@pytest.mark.parametrize(
    ("number", "code"), [("SIGINT", 0), ("SIGTERM", 128 + signal.SIGTERM), ("SIGHUP", 128 + 1), ("SIGQUIT", 128 + 3)]
)
def test_signals_end_the_live_view_and_restore_the_terminal(server: Server, number: str, code: int) -> None:
    """Ctrl-C is not an error."""
    with terminal("top", "--url", server.url) as place:
        place.sees("q quits")
        place.program.send_signal(getattr(signal, number))
        place.ends(code)


def test_live_view_shows_new_figures_and_a_lost_source(server: Server) -> None:
    """The page follows its source, shows its loss, and shows it again when it is back."""
    with terminal("top", "--url", server.url, "--interval", "0.1", width=140) as place:
        place.sees("100 calls")
        server.shows(take(metered(*(call(1) for _ in range(7)))))
        place.sees("7 calls")
        server.answer = 500, b""
        place.sees("answered 500")
        assert re.search(r"next try in \d+ second", place.text)
        server.shows(take(metered(*(call(1) for _ in range(13)))))
        place.sees("13 calls")
        os.write(place.master, b"q")
        place.ends(0)


def test_keys_work_while_a_source_hangs(server: Server) -> None:
    """Keys are heard while the source keeps everybody waiting."""
    import socket

    silent = socket.create_server(("127.0.0.1", 0))
    with silent, terminal("top", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}") as place:
        place.sees("waiting for")
        os.write(place.master, b"q")
        place.ends(0)


# --- statusline -------------------------------------------------------------------------------------------------------


def test_status_line_has_cost_rate_errors_and_limits(server: Server, run: Run) -> None:
    """The cost of today and the current rate; errors and limits where there are some."""
    line = run("statusline", "--url", server.url)
    assert re.fullmatch(r"\$3\.00 today · 100 calls · 123k tokens · [▁-█]{8} \$0\.600/min · ⚠ 1\n", line)
    assert run("statusline", "--url", server.url, "--lang", "fr").startswith("3,00\xa0$ aujourd'hui · 100 appels")
    server.shows(take(metered(call(400, status="error"), thresholds=False)))
    assert run("statusline", "--url", server.url) == "$1.00 today · 1 call · 100 tokens · 1 error\n"


def test_status_line_format_has_every_field(server: Server, run: Run) -> None:
    """Unknown fields are refused; colours are optional."""
    form = "|".join(f"{{{name}}}" for name in FIELDS)
    line = run("statusline", "--url", server.url, "--format", form).rstrip("\n").split("|")
    values = dict(zip(FIELDS, line, strict=True))
    assert (values["cost"], values["calls"], values["tokens"], values["errors"]) == ("$3.00", "100", "123k", "0")
    assert (values["rate"], values["alerts"], values["total"], values["first"]) == ("$0.600", "1", "$3.00", "model-4")
    assert run("statusline", "--url", server.url, "--color", "--format", "{cost}") == "\x1b[1m$3.00\x1b[0m\n"
    for form in ("{nope}", "{cost.__class__}", "{0}", "{", "{cost!r}", "{cost:>9}"):
        assert "--format" in run("statusline", "--url", server.url, "--format", form, code=2)
        with pytest.raises(ConfigurationError):
            checked_form(form)


def test_status_line_as_json_has_totals_rates_and_source(server: Server, run: Run) -> None:
    """The totals, the rates, and that the source is there."""
    data = json.loads(run("statusline", "--url", server.url, "--json"))
    assert (data["away"], data["totals"]["calls"], data["minute"]["cost"], data["alerts"]) == (None, 100, "0.6", 1)


def test_status_line_since_uses_a_report_of_the_server(server: Server, run: Run) -> None:
    """Another span than today is the server's report on it."""
    pulse = busy().to_dict()
    server.answer = 200, json.dumps(pulse).encode()
    run("statusline", "--url", server.url, "--since", "7d")
    assert server.requests[-1][0] == "/api/report?by=provider&since=7d&format=json"


def test_status_line_of_an_unreachable_source_exits_with_0(server: Server, run: Run, tmp_path: Path) -> None:
    """A prompt gets a short line, and JSON the reason."""
    server.answer = 500, b""
    assert run("statusline", "--url", server.url) == "openai-meter: no figures\n"
    assert "answered 500" in json.loads(run("statusline", "--url", server.url, "--json"))["away"]
    pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: a line of a ledger is NOT tested")
    assert run("statusline", "--ledger", f"sqlite:///{tmp_path}/no.db") == "openai-meter: no figures\n"
    assert list(tmp_path.iterdir()) == []


def test_status_line_of_a_hanging_source_ends_in_time() -> None:
    """After its time the process is gone, whatever the source does."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [*PYTHON, "-m", "openai_meter", "statusline", "--url", url, "--timeout", "0.2s", "--json"]
        done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, text=True, timeout=300, check=True)
    assert re.search("no answer within 0.2 seconds|timed out", json.loads(done.stdout)["away"])
    assert done.stderr == ""


def test_wrong_status_line_arguments_exit_with_2(run: Run) -> None:
    """They are explained, with exit code 2; help is there."""
    assert "name the source" in run("statusline", code=2)
    assert "--nonsense" in run("statusline", "--nonsense", code=2)
    assert "length of time" in run("statusline", "--url", "http://x", "--timeout", "soon", code=2)
    assert "klingon" in run("statusline", "--url", "http://x", "--lang", "klingon", code=2)


def test_status_line_of_a_ledger_has_any_span_and_limits(run: Run, tmp_path: Path) -> None:
    """Limits on the command line are compared with today."""
    pytest.importorskip("sqlalchemy", reason="the extra [ledger] is not installed: a line of a ledger is NOT tested")
    from openai_meter.ledger import Ledger

    url = f"sqlite:///{tmp_path}/usage.db"
    ledger, now = Ledger(url), datetime.now(UTC)
    old = replace(call(), started_at=now - timedelta(days=3))
    ledger.import_calls([replace(call(), started_at=now), old])
    ledger.close()
    assert run("statusline", "--ledger", url).startswith("$1.00 today · 1 call · 100 tokens · ")
    assert run("statusline", "--ledger", url, "--since", "7d").startswith("$2.00 since 7d · 2 calls · 200 tokens")
    assert "is not a time" in run("statusline", "--ledger", url, "--since", "whenever", code=2)
    shown = run("top", "--ledger", url, "--once", "--limit", "calls=4", "--limit", "cost=0.5")
    assert "25%  1 of 4" in shown
    assert "200%  $1.00 of $0.50" in shown
    assert "all processes" in shown
