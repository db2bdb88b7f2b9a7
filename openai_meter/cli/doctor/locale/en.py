"""English sentences of the doctor; those of the other reports are in ``openai_meter.core.locale``."""

from __future__ import annotations

from collections.abc import Mapping

from openai_meter.core.locale.en import plural
from openai_meter.core.version import install_command

__all__ = ["MESSAGES", "plural"]

MESSAGES: Mapping[str, str | tuple[str, ...]] = {
    "head": "openai-meter {meter}, openai {sdk}, Python {python}",
    "none": "(not installed)",
    "yes": "yes",
    "no": "NO",
    "trying": "trying every kind of call",
    "tried": ("{n} kind of call is counted right", "{n} kinds of call are counted right"),
    "problems": ("{n} problem", "{n} problems"),
    "warnings": ("{n} warning", "{n} warnings"),
    "absent": "Not possible here with openai {version}: {names}",
    "miscounted": (
        "Calls are not counted as they should be here. Update openai-meter and openai; if the result stays the "
        "same, please report this table."
    ),
    "column.call": "Call",
    "column.sync": "Sync",
    "column.async": "Async",
    "column.tokens": "Tokens",
    "column.unchanged": "Unchanged",
    "column.outcome": "Outcome",
    "usage.api": "API",
    "usage.estimate": "estimated",
    "usage.none": "-",
    "outcome.metered": "counted",
    "outcome.free": "free",
    "outcome.absent": "not in this SDK",
    "outcome.watched": "watched, not tried",
    "outcome.not_covered": "not covered",
    "outcome.untried": "fails unmetered",
    "outcome.missed": "NOT COUNTED",
    "outcome.twice": "COUNTED TWICE",
    "outcome.changed": "ANSWER CHANGED",
    "outcome.request_changed": "REQUEST CHANGED",
    "outcome.raised": "RAISES",
    "outcome.no_usage": "TOKENS UNKNOWN",
    "outcome.fault": "FAULT OF THE METER",
    "area.trials": "Calls",
    "area.python": "Python",
    "area.sdk": "SDK",
    "area.extras": "Extras",
    "area.vocabularies": "Vocabularies",
    "area.prices": "Prices",
    "area.threads": "Threads",
    "area.environment": "Environment",
    "area.patchers": "Other patches",
    "area.ledger": "Ledger",
    "area.clock": "Clock",
    "trials.no_python": "no call was tried: the path of the interpreter is unknown",
    "trials.late": (
        "not all calls were tried, only the {tried} above: their limit of {n} second of processor time was reached",
        "not all calls were tried, only the {tried} above: their limit of {n} seconds of processor time was reached",
    ),
    "trials.late.do": "Give it more time: --patience 60. If the result is the same, a call hangs here.",
    "trials.crashed": "the process that tries the calls ended early: {error}",
    "trials.check_failed": "a check failed: {error}",
    "python.supported": "{version}",
    "python.untested": "{version} is not among the versions that openai-meter is tested with",
    "sdk.supported": "openai {version} is supported",
    "sdk.missing": "openai is not installed for this Python: there is nothing to meter",
    "sdk.missing.do": "Run openai-meter with the Python of your program: python -m openai_meter doctor",
    "sdk.too_old": "openai {version} is older than {oldest}",
    "sdk.too_old.do": "pip install -U openai",
    "sdk.too_new": "openai {version} is newer than what openai-meter is tested with (before {limit}.0)",
    "sdk.too_new.do": "The table above shows what is counted with it. pip install -U openai-meter",
    "extras.some": "installed: {there}; not installed: {absent}",
    "extras.some.do": "Where you need them: {install}",
    "extras.all": "installed: {there}",
    "vocabularies.found": "{name}: {place}",
    "vocabularies.missing": "{name} is not on this machine ({why}): estimates count characters",
    "vocabularies.missing.do": install_command("offline"),
    "prices.fresh": "{models} models; genai-prices {catalog}, our own rows checked on {date}",
    "prices.old": (
        "{models} models; genai-prices {catalog}, our own rows checked {n} day ago ({date})",
        "{models} models; genai-prices {catalog}, our own rows checked {n} days ago ({date})",
    ),
    "prices.old.do": "pip install -U openai-meter genai-prices; openai-meter prices update shows what has changed.",
    "prices.none": "no price can be read; genai-prices {catalog}, our own rows of {date}",
    "prices.none.do": "pip install --force-reinstall openai-meter genai-prices",
    "prices.no_catalog": "genai-prices is not installed: most models have no price",
    "prices.no_catalog.do": "pip install genai-prices",
    "threads.followed": "attribution and blocks are passed on to threads",
    "threads.not_followed": (
        "attribution and blocks are not passed on to jobs of a ThreadPoolExecutor; calls are counted there too"
    ),
    "threads.not_followed.do": "Where agents work in threads: install(threads=True), or bind(function).",
    "environment.known": "variables of openai-meter: {names}",
    "environment.misspelled": "{name} is not a variable of openai-meter; did you mean {near}?",
    "environment.misspelled.do": "export {near}=...; unset {name}",
    "environment.unknown": "{name} is not a variable of openai-meter{near}",
    "environment.unusable": "{name} cannot be used: {error}",
    "patchers.none": "no other package has patched openai",
    "patchers.idle": "installed, but not active here: {names}",
    "patchers.active": (
        "{name} wraps {n} method ({places}); calls are counted once here",
        "{name} wraps {n} methods ({places} ...); calls are counted once here",
    ),
    "patchers.active.do": "It keeps figures of its own: do not add them to ours.",
    "patchers.emitting": (
        "{name} wraps {n} method ({places}) and sends tokens to OpenTelemetry",
        "{name} wraps {n} methods ({places} ...) and sends tokens to OpenTelemetry",
    ),
    "patchers.emitting.do": (
        "Calls are counted once here. If openai_meter sends to OpenTelemetry too, the same tokens are there "
        "twice: let one of them send."
    ),
    "patchers.unknown": (
        "{name} wraps {n} method of openai: {places}",
        "{name} wraps {n} methods of openai: {places} ...",
    ),
    "patchers.unknown.do": "If that counts calls too, do not add its figures to ours.",
    "patchers.bypassed": "{names}: restored by another package after install(); calls through them are not counted",
    "patchers.bypassed.do": "Call openai_meter.install() again: it keeps its settings and its counts.",
    "ledger.none": "no ledger is named: the counts are lost when the process ends",
    "ledger.none.do": (
        'To keep every call: install(ledger="sqlite:///usage.db"), or the variable OPENAI_METER_LEDGER.'
    ),
    "ledger.new": "{url} does not exist yet; the first call creates it",
    "ledger.folder_read_only": "{url} does not exist, and its folder is not writable",
    "ledger.empty": "{url} can be reached; the first call creates the tables",
    "ledger.ready": "{url} can be reached (schema {version})",
    "ledger.older": "{url} can be reached (schema {version} of {newest}; brought up to date by the next call)",
    "ledger.newer": "{url} was written by a newer openai-meter (schema {version}; this version supports {newest})",
    "ledger.newer.do": "pip install -U openai-meter",
    "ledger.read_only": "{url} is read-only",
    "ledger.read_only.do": (
        "Grant the user INSERT and UPDATE on the tables, and name the primary server, not a replica."
    ),
    "ledger.unusable": "{error}",
    "ledger.unusable.do": "Calls wait in files until it is back; check the URL, the server and the permissions.",
    "ledger.no_extra": "a ledger is named, but what it needs is not installed",
    "ledger.no_extra.do": install_command("ledger"),
    "ledger.waiting": (
        "{n} file with calls waits for the ledger in {folder} ({size:,} bytes)",
        "{n} files with calls wait for the ledger in {folder} ({size:,} bytes)",
    ),
    "ledger.waiting.do": "The next program that writes to this ledger stores them.",
    "clock.alone": "not checked: there is no database to compare with",
    "clock.same_machine": "not checked: the ledger is on this machine",
    "clock.agrees": "agrees with that of the database ({seconds:+.1f} s)",
    "clock.skewed": "differs from that of the database by {seconds:+.1f} s",
    "clock.skewed.do": "Synchronize both machines (NTP): the days and the order of calls depend on it.",
    "clock.behind": "is before {date}, when prices were checked last",
    "clock.behind.do": "Set the clock: calls are priced by the day on which they are made.",
}
