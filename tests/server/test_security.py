"""Checks of requests: host names, client addresses, tokens, other sites, sizes; and the security headers."""

from __future__ import annotations

import re
import socket
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_client import ELSEWHERE, call, client, filled

from openai_meter import ConfigurationError
from openai_meter.server import create_app, start
from openai_meter.server.app import EVENTS, ROUTES
from openai_meter.server.security import PAGE_POLICY, is_loopback, parse_host

TOKEN = "correct-horse-battery"
FIGURES = [row.path.replace("{id}", "x") for row in (*ROUTES, EVENTS) if row.path != "/healthz"]


def refusal(response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- hosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:3000", "127.0.0.1:80", "127.8.8.8", "[::1]:3000", "[::1]"])
def test_local_host_names_are_answered(host: str) -> None:
    """Without a token the server answers under the names of this machine."""
    assert client(filled()).get("/api/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7", "0.0.0.0",
     "localhost@evil.example", "a/localhost", "localhost:port", "[::2]", "loc\u00e4lhost".encode().decode("latin-1"),
     "x" * 500, "localhost, evil.example", "", "[::1", "localhost:99999", "[::1]x", "[::1].example.net",
     "[::1]:80.example", "[::1%25eth0]", "[::1%eth0]", "::1", "::1]", "[127.0.0.1]", "[localhost]", "127.0.0.1%lo",
     "localhost%00", "127.1",
     "0x7f.0.0.1", "2130706433", "127.0.0.1:", "localhost:-1", "localhost:+80", "localhost:8_0", "user:pw@localhost",
     "localhost\n", "localhost;a"],
)  # fmt: skip
def test_foreign_host_names_are_refused(host: str) -> None:
    """A name that has been pointed at this machine (DNS rebinding) is refused, on every route, pages included."""
    api = client(filled())
    for path in ("/api/stats", "/dashboard", "/healthz", "/openapi.json", "/api/events"):
        response = api.get(path, headers={"Host": host.encode("latin-1")})
        assert refusal(response) == (421, "wrong_host")
        assert host not in response.text or not host


def test_allowed_hosts_are_answered() -> None:
    """The names that the application was given are valid, in addition to those of this machine."""
    api = client(filled(), allowed_hosts=["Meter.example.com"])
    assert api.get("/api/stats", headers={"Host": "meter.example.com:8443"}).status_code == 200
    assert api.get("/api/stats", headers={"Host": "localhost"}).status_code == 200
    assert refusal(api.get("/api/stats", headers={"Host": "example.com"})) == (421, "wrong_host")
    assert client(filled(), allowed_hosts=["*"]).get("/api/stats", headers={"Host": "any.thing"}).status_code == 200
    api = client(filled(), allowed_hosts=["[2001:DB8::0:1]"])
    assert api.get("/api/stats", headers={"Host": "[2001:db8::1]:80"}).status_code == 200
    assert refusal(api.get("/api/stats", headers={"Host": "[2001:db8::2]"})) == (421, "wrong_host")


# --- machines and tokens ----------------------------------------------------------------------------------------------


def test_other_machines_are_refused_without_a_token() -> None:
    """Whatever their headers contain."""
    response = client(filled(), peer=ELSEWHERE).get("/api/stats", headers={"X-Forwarded-For": "127.0.0.1"})
    assert refusal(response) == (403, "refused")
    assert client(filled(), peer=("::ffff:127.0.0.1", 1)).get("/api/stats").status_code == 200
    assert client(filled(), peer=("::1", 1)).get("/api/stats").status_code == 200


@pytest.mark.parametrize("path", FIGURES)
def test_figures_without_the_token_are_refused(path: str) -> None:
    """With a token, every route that shows figures needs it, from this machine too."""
    api = client(filled(), token=TOKEN)
    method = "POST" if path.endswith("reset") else "GET"
    for headers in (
        {},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": f"token={TOKEN}"},
    ):
        response = api.request(method, path, headers=headers)
        assert refusal(response) == (401, "token_needed")
        assert response.headers["www-authenticate"] == "Bearer"
    for wrong in (f"{path}?token={TOKEN}", f"/static/%2e%2e{path}", f"/dashboard/%2e%2e{path}"):
        assert api.request(method, wrong).status_code in {401, 404}


def test_token_is_accepted_from_anywhere() -> None:
    """A request with the token may come from any machine, under any name."""
    api = client(filled(), token=TOKEN, peer=ELSEWHERE, host="meter.example.com")
    for scheme in ("Bearer", "bearer"):
        assert api.get("/api/stats", headers={"Authorization": f"{scheme} {TOKEN}"}).status_code == 200
    for path in ("/dashboard", "/healthz"):
        response = api.get(path)
        assert response.status_code == 200
        assert TOKEN not in response.text
    assert api.get("/", follow_redirects=False).status_code == 307


def test_token_of_the_environment_is_the_default(monkeypatch) -> None:
    """The token of the environment is used where none is given; ``False`` means no token in either case."""
    monkeypatch.setenv("OPENAI_METER_TOKEN", TOKEN)
    assert client(filled()).get("/api/stats").status_code == 401
    assert client(filled()).get("/api/stats", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert client(filled(), token=False, peer=ELSEWHERE, host="any.thing").get("/api/stats").status_code == 200


@pytest.mark.parametrize(
    "token", ["", "short", "with space in it", "tabs\tand\nlines", "\u00fcml\u00e4ut-token", 12345678]
)
def test_invalid_token_is_refused(token) -> None:
    """A token that can be guessed, or that no header can hold, is refused with the remedy."""
    with pytest.raises(ConfigurationError, match="token_urlsafe"):
        create_app(filled(), token=token)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "meter.example.com"])
def test_public_address_without_a_token_is_refused(host: str, monkeypatch) -> None:
    """The server does not start where other machines could reach it without a token."""
    monkeypatch.delenv("OPENAI_METER_TOKEN", raising=False)
    with pytest.raises(ConfigurationError, match="OPENAI_METER_TOKEN"):
        start(filled(), host, 0)


@given(st.text(max_size=40))
def test_only_loopback_addresses_are_this_machine(host: str) -> None:
    """Only loopback addresses and ``localhost`` are this machine."""
    assert is_loopback(host) == (host.lower() == "localhost" or loops_back(host))


def loops_back(address: str) -> bool:
    """Whether the system's own parser reads a text as a loopback address."""
    with suppress(OSError, ValueError, UnicodeEncodeError):
        return socket.inet_pton(socket.AF_INET, address)[0] == 127
    with suppress(OSError, ValueError, UnicodeEncodeError):
        packed = socket.inet_pton(socket.AF_INET6, address)
        return packed == b"\0" * 15 + b"\1" or packed[:13] == b"\0" * 10 + b"\xff\xff\x7f"
    return False


SEEDS = st.sampled_from(["localhost", "127.0.0.1", "[::1]", "127.8.9.10:3000", "[::ffff:127.0.0.1]:80", "localhost:1"])
PIECES = st.sampled_from(
    [*"[]:.%@/\\?#,; 019afx-_", "%25", ".evil", "::1", "localhost", "127.0.0.1", "\t", "\u00df", ":80"]
)


@st.composite
def mutated_hosts(draw) -> str:
    """A local Host header with up to three pieces put in or taken out at any place."""
    host = draw(SEEDS)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(host)))
        host = host[:at] + draw(PIECES) + host[at + draw(st.integers(0, 2)) :]
    return host


@settings(max_examples=2_000)
@given(mutated_hosts())
def test_mutated_local_host_is_answered_only_if_it_is_local(value: str) -> None:
    """A Host header is local exactly if it is a local name or address, with a port or without, and nothing else."""
    host = parse_host(value)
    name, port = value, ""
    if match := re.fullmatch(r"(.*?):(\d{1,5})", value, re.DOTALL):
        name, port = match.groups()
    bracketed = name.startswith("[") and name.endswith("]") and ":" in name
    address = name[1:-1] if bracketed else name
    local = name.lower() == "localhost" or (loops_back(address) and (bracketed or ":" not in name))
    assert (host is not None and is_loopback(host)) == (local and int(port or 0) <= 65_535)


# --- other sites ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "text/plain; application/json"},
    ],
)
def test_reset_from_another_site_is_refused(headers) -> None:
    """A page of another site cannot reset anything, by a script or a form."""
    meter = filled(call())
    assert refusal(client(meter).post("/api/stats/reset", headers=headers)) == (403, "refused")
    assert meter.totals.calls == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"},
        {"Sec-Fetch-Site": "none"},
        {"Content-Type": "application/json; charset=utf-8"},
    ],
)
def test_reset_from_the_page_or_a_command_is_accepted(headers) -> None:
    """The dashboard itself and a command line may reset."""
    meter = filled(call())
    assert client(meter).post("/api/stats/reset", headers=headers).status_code == 200
    assert meter.totals.calls == 0


def test_only_post_resets() -> None:
    """No other method than POST resets."""
    meter = filled(call())
    api = client(meter)
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "RESET"):
        assert api.request(method, "/api/stats/reset").status_code in {403, 405}
    assert meter.totals.calls == 1


# --- headers and sizes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*FIGURES[:-1], "/dashboard", "/healthz", "/nothing", "/openapi.json", "/"])
def test_every_answer_has_the_security_headers(path: str) -> None:
    """Errors included, every answer has the headers for browsers; no other site may read it."""
    response = client(filled()).get(path, follow_redirects=False)
    headers = response.headers
    policy = headers["content-security-policy"]
    if headers.get("content-type", "").startswith("text/html"):
        assert policy == PAGE_POLICY
    else:
        assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert not [name for name in headers if name.startswith("access-control")]


def test_oversized_requests_are_refused() -> None:
    """Bodies, query strings and paths have a limit."""
    api = client(filled())
    large = {"Content-Type": "application/json"}
    assert refusal(api.post("/api/stats/reset", content=b"x" * 20_000, headers=large)) == (413, "too_large")
    for length in ("99999999999999999999999", "-1", "x"):
        assert api.post("/api/stats/reset", headers={"Content-Length": length}).status_code == 413
    assert refusal(api.get("/api/stats?" + "a" * 5_000)) == (400, "bad_request")
    assert refusal(api.get("/api/explain/" + "a" * 5_000)) == (404, "not_found")


@pytest.mark.parametrize(
    "settings",
    [{"meter": 1}, {"ledger": 1}, {"ledger": "usage.db"}, {"allowed_hosts": "a"}, {"allowed_hosts": []},
     {"allowed_hosts": ["http://a"]}, {"allowed_hosts": ["a:80"]}, {"allowed_hosts": ["[::1%25lo]"]}, {"max_age": -1},
     {"max_age": True}, {"max_age": 61}],
)  # fmt: skip
def test_invalid_app_settings_are_refused(settings) -> None:
    """A setting that is not valid raises when the application is made."""
    with pytest.raises(ConfigurationError):
        create_app(**settings)
