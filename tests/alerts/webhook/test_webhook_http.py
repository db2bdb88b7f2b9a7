"""One request to a webhook, over real sockets: what is sent, what is believed, and when it is given up."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import receivers

from openai_meter.alerts.webhook import Webhook, http
from openai_meter.alerts.webhook.http import NotPostedError, PrivateAddressError, post


@pytest.fixture
def receiver():
    with receivers.Receiver() as receiver:
        yield receiver


@pytest.fixture
def names(monkeypatch):
    """What names stand for in this test: a list of answers of the resolver, each a list of addresses."""
    answers = []

    def resolve(host, port, *_, **__):
        found = answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


def raw_server(talk):
    """A server that does ``talk(connection)`` for its one caller."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listening, listening.accept()[0] as connection:
            talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/hidden", thread


def test_request_has_the_url_and_the_given_headers(receiver):
    """And no others but HTTP's own."""
    webhook = Webhook(f"{receiver.url}/x?a=1&b=2", headers={"Authorization": "Bearer t", "Content-Type": "text/x"})
    answer = post(webhook, "é".encode(), {"Content-Type": "application/json", "webhook-id": "msg_1"})
    assert answer == (204, None, None, "127.0.0.1", "")
    (request,) = receiver.requests
    assert request.path == "/alerts/x?a=1&b=2"
    assert request.body == "é".encode()
    assert request.headers == {
        "host": f"127.0.0.1:{receiver.port}", "user-agent": "openai-meter", "connection": "close",
        "accept-encoding": "identity", "content-length": "2", "content-type": "text/x", "webhook-id": "msg_1",
        "authorization": "Bearer t",
    }  # fmt: skip


def test_localhost_is_allowed_and_each_address_is_tried(receiver):
    """``localhost`` says by itself that it is private; each of its addresses is tried."""
    assert post(Webhook(f"http://localhost:{receiver.port}/x"), b"{}", {}).status == 204


def test_name_for_a_private_address_is_refused(receiver, names):
    """Nothing is connected to in the own network, unless the user allows it."""
    for addresses in (["127.0.0.1"], ["10.0.0.1", "192.168.0.1"], ["169.254.169.254"]):
        names.append(addresses)
        with pytest.raises(PrivateAddressError, match="allow_private=True"):
            post(Webhook(f"https://rebound.example:{receiver.port}/x"), b"{}", {})
    assert receiver.requests == []
    names.append(["127.0.0.1"])
    meant = Webhook(f"http://rebound.example:{receiver.port}/x", allow_private=True)
    assert post(meant, b"{}", {}).address == "127.0.0.1"


def test_checked_address_is_the_connected_one(receiver, names, monkeypatch):
    """A name is resolved once, so a later change of it has no effect."""
    names += [["203.0.114.7", "127.0.0.1"], ["127.0.0.1"]]
    tried = []

    def connect(self, address):
        tried.append(address[0])
        raise ConnectionRefusedError(111, "Connection refused")

    class Watched(socket.socket):
        pass

    Watched.connect = connect
    monkeypatch.setattr(socket, "socket", Watched)
    with pytest.raises(NotPostedError, match="Connection refused"):
        post(Webhook(f"https://rebound.example:{receiver.port}/x"), b"{}", {})
    assert tried == ["203.0.114.7"]  # public, and the only one of the first answer that is
    assert names == [["127.0.0.1"]]  # nobody asked again
    assert receiver.requests == []


def test_redirect_is_not_followed():
    """Not to another host and not to another path: the result has its location."""
    with receivers.Receiver() as inner:
        redirects = [(status, {"Location": inner.url}) for status in (301, 302, 303, 307, 308)]
        with receivers.Receiver(*redirects, (302, {"Location": "/x"}), 302, (302, {"Location": "http://[x"})) as outer:
            webhook = Webhook(outer.url)
            answers = [post(webhook, b"{}", {}) for _ in range(8)]
        assert [answer.redirect for answer in answers] == ["127.0.0.1"] * 5 + ["elsewhere"] * 3
        assert len(outer.requests) == 8
        assert inner.requests == []


@pytest.mark.parametrize("drip", [b"", b"H", b"HTTP/1.1 200 OK\r\nX: "], ids=["silent", "first", "header"])
def test_slow_answer_times_out(drip):
    """The time is for the whole request: a byte now and then does not extend it."""
    over = threading.Event()

    def talk(connection):
        connection.sendall(drip)
        while not over.wait(0.02) and drip:
            try:
                connection.sendall(b"a")
            except OSError:
                return
        over.wait(60)

    url, thread = raw_server(talk)
    with pytest.raises(NotPostedError, match=r"no answer within 0\.2 s"):
        post(Webhook(url, timeout=0.2), b"{}", {})
    over.set()
    thread.join(60)


def test_endless_interim_answers_time_out():
    """``100 Continue`` for ever is not an answer."""

    def talk(connection):
        with pytest.raises(OSError):
            while True:
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    url, thread = raw_server(talk)
    with pytest.raises(NotPostedError, match="no answer within"):
        post(Webhook(url), b"{}", {}, patience=0.2)
    thread.join(60)


@pytest.mark.parametrize(
    "data", [b"", b"hidden\r\n\r\n", b"HTTP/1.1 hidden\r\n\r\n", b"HTTP/1.1 200\r\n" + b"a: b\r\n" * 200]
)
def test_answer_that_is_not_http_is_a_failure(data):
    """Its text is not repeated."""

    def talk(connection):
        connection.recv(65_536)
        connection.sendall(data)

    url, thread = raw_server(talk)
    with pytest.raises(NotPostedError) as caught:
        post(Webhook(url), b"{}", {})
    assert "hidden" not in str(caught.value)
    thread.join(60)


def test_refused_port_and_unknown_name_are_failures(monkeypatch):
    """A port that refuses and a name that nobody knows are failures that say so."""
    with receivers.dead_port() as port, pytest.raises(NotPostedError, match="refused"):
        post(Webhook(f"http://127.0.0.1:{port}/hidden"), b"{}", {})

    def unknown(*_, **__):
        raise socket.gaierror(-2, "hidden")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NotPostedError, match="its name cannot be resolved"):
        post(Webhook("https://nobody.example/hidden"), b"{}", {})


@pytest.fixture
def trusting(monkeypatch):
    """Has a certificate trusted, as ``SSL_CERT_FILE`` does; ``None``: only those of the system."""

    def trust(certificate):
        http._trust.cache_clear()
        if certificate is not None:
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    yield trust
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    http._trust.cache_clear()


def test_untrusted_certificate_is_refused(tmp_path, trusting):
    """Before anything is sent; a trusted one is accepted."""
    files = receivers.make_certificate(tmp_path, "IP:127.0.0.1,DNS:localhost")
    with receivers.Receiver(context=receivers.secured(*files)) as receiver:
        webhook = Webhook(f"https://127.0.0.1:{receiver.port}/hidden")
        trusting(None)
        with pytest.raises(NotPostedError, match="TLS: the certificate is not trusted"):
            post(webhook, b"{}", {})
        assert receiver.requests == []
        trusting(files[0])
        assert post(webhook, b"{}", {}).status == 204
        assert [request.headers["host"] for request in receiver.requests] == [f"127.0.0.1:{receiver.port}"]


def test_certificate_of_another_name_is_refused(tmp_path, trusting, names):
    """That of the name is accepted, whatever the address is."""
    files = receivers.make_certificate(tmp_path, "DNS:right.example")
    trusting(files[0])
    with receivers.Receiver(context=receivers.secured(*files)) as receiver:
        names += [["127.0.0.1"], ["127.0.0.1"]]
        with pytest.raises(NotPostedError, match="TLS: the certificate is not trusted"):
            post(Webhook(f"https://wrong.example:{receiver.port}/x", allow_private=True), b"{}", {})
        assert receiver.requests == []
        assert post(Webhook(f"https://right.example:{receiver.port}/x", allow_private=True), b"{}", {}).status == 204


def test_https_to_an_http_port_is_a_failure(receiver):
    """HTTPS to a port that speaks HTTP is a failure of TLS."""
    with pytest.raises(NotPostedError, match="TLS"):
        post(Webhook(f"https://127.0.0.1:{receiver.port}/hidden"), b"{}", {})
    assert receiver.requests == []


def test_old_tls_is_refused(tmp_path, trusting):
    """A server with at most TLS 1.1."""
    files = receivers.make_certificate(tmp_path, "IP:127.0.0.1")
    context = receivers.secured(*files)
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    trusting(files[0])
    with receivers.Receiver(context=context) as receiver, pytest.raises(NotPostedError, match="TLS"):
        post(Webhook(f"https://127.0.0.1:{receiver.port}/x"), b"{}", {})


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None), ("0", 0), ("7", 7), ("1.5", 1.5), ("-5", 0), ("soon", None), ("nan", None), ("inf", None),
        ("", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 99 Oct 2015", None),
    ],
)  # fmt: skip
def test_retry_after_is_parsed(header, seconds):
    """Seconds or a date; other text is ignored."""
    assert http._seconds(header) == seconds


def test_retry_after_date_is_the_seconds_until_then():
    """A date in the future is as many seconds as it is away."""
    header = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert 90 < http._seconds(header) <= 100


def test_body_of_an_answer_is_read_on_request_only(receiver):
    """And no more than its beginning."""

    def write(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b"a" * 5_000)

    receiver.answers += [write, write]
    assert post(Webhook(receiver.url), b"{}", {}).excerpt == ""
    assert post(Webhook(receiver.url), b"{}", {}, excerpt=True).excerpt == "a" * 1_000


def test_request_without_time_is_not_sent(receiver):
    """Without patience nothing is connected to."""
    with pytest.raises(NotPostedError, match="no answer within 0 s"):
        post(Webhook(receiver.url), b"{}", {}, patience=0.0)
    assert receiver.requests == []
