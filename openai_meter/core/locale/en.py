"""English: the language of all keys, and the default.

A value in braces is filled in. A tuple has the singular and the plural, and is chosen by ``n``. To add a sentence, add
its key here and in the other languages, in the area where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping

from openai_meter.core.formatting import ENGLISH
from openai_meter.core.locale.advice.en import ADVICE
from openai_meter.core.locale.billing.en import BILLING
from openai_meter.core.locale.page.en import PAGE
from openai_meter.core.locale.screens.en import SCREENS
from openai_meter.core.version import install_command

__all__ = ["MESSAGES", "plural"]


NUMBERS = ENGLISH


def plural(n: float) -> int:
    """1 is singular, all else is plural."""
    return 0 if n == 1 else 1


MESSAGES: Mapping[str, str | tuple[str, ...]] = {
    # Counts. {text} is the number as it is shown: it may be "~5,137+" or "?".
    "calls": ("{n:,} call", "{n:,} calls"),
    "tokens": ("{text} token", "{text} tokens"),
    "errors": ("{n:,} error", "{n:,} errors"),
    "faults": ("{n:,} fault", "{n:,} faults"),
    "seconds": ("{n:,} second", "{n:,} seconds"),
    "minutes": ("{n:,} minute", "{n:,} minutes"),
    "hours": ("{n:,} hour", "{n:,} hours"),
    "days": ("{n:,} day", "{n:,} days"),
    # Rows without a name, by the constants of the store.
    "row.unattributed": "(unattributed)",
    "row.unknown_model": "(unknown model)",
    "row.no_block": "(no block)",
    "row.other_models": "(other models)",
    "row.other_agents": "(other agents)",
    "row.other_operations": "(other operations)",
    "row.other_users": "(other users)",
    "row.other_sessions": "(other sessions)",
    "row.other_tags": "(other tags)",
    "row.other_endpoints": "(other endpoints)",
    "row.other_providers": "(other providers)",
    "row.other_blocks": "(other blocks)",
    "row.other_organizations": "(other organizations)",
    "row.other_projects": "(other projects)",
    "row.pruned": "(pruned)",
    # Budgets: why a call was not sent.
    "budget.of": "{budget}, {key}",
    "budget.spent": (
        "the call was not sent: it needs up to {needed}. Budget {budget}: limit {limit}, spent {spent}, held for "
        "open calls {held}."
    ),
    "budget.resets": " The budget starts again at {at}.",
    "budget.unpriced": (
        "the call was not sent: the model {model} has no price ({detail}), so budget {budget} cannot be kept. Give it "
        'a price with install(prices={{"{model}": Price(input=1, output=4)}}), or allow such calls with '
        'Budget(unpriced="allow").'
    ),
    "budget.host": (
        " If {host} is a proxy or a gateway to OpenAI, its calls have OpenAI's prices with "
        "install(hosts={{'{host}': 'openai'}}), OPENAI_METER_HOSTS={host}=openai, or openai-meter run --host {host}."
    ),
    "budget.unbounded": (
        "the call was not sent: its cost has no upper bound ({detail}), and budget {budget} is strict. "
        "Budget(strict=False) admits such calls by what they have cost so far."
    ),
    "budget.fault": (
        "the call was not sent: openai_meter had an error while it checked budget {budget}, which has "
        'on_fault="refuse". The log openai_meter has the cause.'
    ),
    "budget.outage": (
        "the call was not sent: the store of budgets does not answer, and this process has less of budget {budget} "
        "left than the {needed} that the call needs. Budget(on_outage=0.01) would let it go on with a hundredth of the "
        "limit."
    ),
    "cli.budget.line": "{name}: {spent} of {limit} ({share}), held {held}",
    "cli.budget.resets": "; starts again at {at} UTC",
    "cli.budget.none": "The store has no budget in a current period.",
    "cli.budget.no_store": "name the store: --store sqlite:///budgets.db, or {variable} in the environment",
    "cli.budget.away": "the store of budgets does not answer: {error}",
    "budget.unknown": "an unknown amount",
    "budget.no_model": "(no model)",
    # Dimensions: as the head of a column, and after "by".
    "dimension.model": "Model",
    "dimension.models": "Models",
    "dimension.agent": "Agent",
    "dimension.operation": "Operation",
    "dimension.user": "User",
    "dimension.session": "Session",
    "dimension.tag": "Tags",
    "dimension.endpoint": "Endpoint",
    "dimension.provider": "Provider",
    "dimension.block": "Block",
    "dimension.organization": "Organization",
    "dimension.project": "Project",
    "dimension.hour": "Hour",
    "dimension.day": "Day",
    "dimension.week": "Week",
    "dimension.month": "Month",
    "by.model": "model",
    "by.agent": "agent",
    "by.operation": "operation",
    "by.user": "user",
    "by.session": "session",
    "by.tag": "tags",
    "by.endpoint": "endpoint",
    "by.provider": "provider",
    "by.block": "block",
    "by.organization": "organization",
    "by.project": "project",
    "by.hour": "hour",
    "by.day": "day",
    "by.week": "week",
    "by.month": "month",
    "by.and": " and ",
    # CSV for Excel.
    "csv.separator": ",",
    "csv.decimal": ".",
    # The table.
    "table.title": "OpenAI usage",
    "table.title_of": "OpenAI usage: {name}",
    "table.total": "Total",
    "column.calls": "Calls",
    "column.input": "Input",
    "column.cached": "Cached",
    "column.output": "Output",
    "column.reasoning": "Reasoning",
    "column.total": "Total",
    "column.errors": "Errors",
    "column.retries": "Retries",
    "column.cost": "Cost",
    # Notes below the numbers, and what stands between them.
    "separator": "; ",
    "note.part": "{part} is part of {whole}",
    "note.errors": ("{n:,} error.", "{n:,} errors."),
    "note.unmeasured": (
        "{n:,} call of unknown size (? and +): the API did not say what was used.",
        "{n:,} calls of unknown size (? and +): the API did not say what was used.",
    ),
    "note.estimated": (
        "{n:,} call of estimated size (~): the API did not say what was used.",
        "{n:,} calls of estimated size (~): the API did not say what was used.",
    ),
    "note.cost": "Cost (~): measured {measured} + estimated {estimated}.",
    "note.unpriced": "No price for {model}: {calls} ({reason}).",
    "note.no_usage": "No usage of {model}: {calls}. The API did not return it, so its cost is unknown.",
    "note.unpriced_calls": (
        "{n:,} call without a full price (+): the cost is at least what is shown.",
        "{n:,} calls without a full price (+): the cost is at least what is shown.",
    ),
    "note.host": (
        "If {host} is a proxy or a gateway to OpenAI, name it: install(hosts={{'{host}': 'openai'}}), "
        "OPENAI_METER_HOSTS={host}=openai, or openai-meter run --host {host}; then openai-meter reprice --host {host}."
    ),
    "note.unpriced_more": "No price for {n:,} more; the JSON report has them all.",
    "note.overflow_calls": (
        "{n:,} call counts in a row of others: there were too many names.",
        "{n:,} calls count in rows of others: there were too many names.",
    ),
    "note.pending": ("{n:,} call not finished yet.", "{n:,} calls not finished yet."),
    "note.internal_errors": (
        "{n:,} fault inside openai_meter: see the log; some calls may be missing.",
        "{n:,} faults inside openai_meter: see the log; some calls may be missing.",
    ),
    # Why something has no price; a reason that is not here is shown as it is.
    "reason.unknown_model": "unknown model",
    "reason.no_price": "no price",
    "reason.not_sold_by_OpenAI": "not sold by OpenAI",
    "reason.model_not_stated": "model not stated",
    "reason.usage_unknown": "usage unknown",
    "reason.prices_are_being_read": "prices are being read",
    "reason.a_fault_inside_openai_meter": "a fault inside openai_meter",
    "reason.provider": "sold by {what}",
    "reason.tier": "tier: {what}",
    "reason.price": "price: {what}",
    "reason.window": "window: {what}",
    "reason.azure_deployment_type": "azure deployment type: {what}",
    # One line.
    "line.unmeasured": ("{n:,} call of unknown size", "{n:,} calls of unknown size"),
    "line.pending": "{n:,} open",
    "line.session": "💡 Session: {line}",
    "line.named": "💡 {name}: {line}",
    # The summary as a tree.
    "tree.title": "📊 TOKENS & COSTS SUMMARY",
    "tree.title_of": "📊 TOKENS & COSTS SUMMARY: {name}",
    "tree.since": "🕐 Session started: {since}",
    "tree.since_of": "🕐 Since: {since}",
    "tree.calls": "📞 API calls: {calls}",
    "tree.tokens": "🔤 Total tokens: {tokens}",
    "tree.input": "   ├─ Input:  {tokens}",
    "tree.output": "   └─ Output: {tokens}",
    "tree.cost": "💰 Total cost: {cost}",
    "tree.details": "📊 Details by {dimensions}:",
    "tree.note": "📝 {note}",
    "tree.recommendations": "💡 Recommendations:",
    # A branch of the tree.
    "branch.calls": "Calls: {calls}",
    "branch.tokens": "Tokens: {tokens}",
    "branch.errors": "Errors: {errors}",
    "branch.cost": "Cost: {cost}",
    # The report for chats.
    "chat.title": "📊 **OpenAI usage statistics**",
    "chat.title_of": "📊 **OpenAI usage statistics: {name}**",
    "chat.duration": "⏱️ Duration: {duration}",
    "chat.calls": "Calls: {calls}",
    "chat.tokens": "Tokens: {tokens}",
    "chat.errors": "Errors: {errors}",
    "chat.cost": "Cost: {cost}",
    "chat.totals": "**📈 Totals**",
    "chat.total_cost": "Total cost: {cost}",
    "chat.recommendations": "**💡 Recommendations**",
    # Prices and bills.
    "prices.title": "Prices in US dollars per million tokens",
    "prices.tier": "Tier",
    "prices.written": "Written",
    "prices.other": "Other",
    "prices.source": "Source",
    "prices.long": "{tier}, long",
    "prices.low_confidence": "(low confidence)",
    "bill.title": "What the call cost",
    "bill.item": "Item",
    "bill.quantity": "Quantity",
    "bill.unit_price": "Unit price",
    "bill.amount": "Amount",
    "bill.unknown": "unknown",
    "bill.estimate": "~ is an estimate",
    "bill.status_partial": "partial",
    "bill.status_unpriced": "unpriced",
    "bill.status_free": "free",
    "unit.token": ("{text} token", "{text} tokens"),
    "unit.second": ("{text} second", "{text} seconds"),
    "unit.character": ("{text} character", "{text} characters"),
    "unit.image": ("{text} image", "{text} images"),
    "unit.call": ("{text} call", "{text} calls"),
    "unit.unit": ("{text} unit", "{text} units"),
    # Alerts. {value} is the first below, {where} and {during} are the last, or nothing.
    "alert.value.calls": ("{text} API call", "{text} API calls"),
    "alert.value.cost": "{text}",
    "alert.value.errors": ("{text} error", "{text} errors"),
    "alert.value.tokens": ("{text} token", "{text} tokens"),
    "alert.value.tokens_per_call": ("{text} token per call on average", "{text} tokens per call on average"),
    "alert.at_least": "at least {value}",
    "alert.calls": "⚠️ Alert: {value}{where}{during} (limit: {limit})",
    "alert.cost": "💰 Alert: Cost of {value}{where}{during} (limit: {limit})",
    "alert.errors": "⚠️ Alert: {value}{where}{during} (limit: {limit}); check the API key",
    "alert.tokens": "⚠️ Alert: {value}{where}{during} (limit: {limit})",
    "alert.tokens_per_call": "⚠️ Alert: {value}{where}{during} (limit: {limit}); shorten the prompts",
    "alert.agent": " by agent {name}",
    "alert.user": " by user {name}",
    "alert.session": " in session {name}",
    "alert.model": " on model {name}",
    "alert.per": " for {per} {name}",
    "alert.budget": "💰 Alert: Budget {budget}: {spent} of {limit} spent{during} ({share})",
    "alert.budget_refuses": ("⛔ Alert: Budget {budget} refuses calls: {spent} of {limit} spent{during} ({share})"),
    "alert.during": " within {window}",
    # Windows by the calendar, at the end of the name of a limit.
    "this.minute": "this minute",
    "this.hour": "this hour",
    "this.day": "today",
    "this.week": "this week",
    "this.month": "this month",
    # Alerts as webhooks post them.
    "webhook.of_block": "{text} in block {name}",
    "webhook.test": "Test of openai_meter: {text}",
    # Recommendations.
    **ADVICE,
    **BILLING,
    # The command line.
    "cli.nothing": "no OpenAI call was made",
    "cli.nothing_here": "this process made no OpenAI call",
    "cli.processes": ("the figures are of {n:,} process", "the figures are of {n:,} processes"),
    "cli.unmetered_processes": (
        "{n:,} Python process was not metered: openai_meter is not installed for its Python",
        "{n:,} Python processes were not metered: openai_meter is not installed for their Python",
    ),
    "cli.forked": "forked process {process}:",
    "cli.not_full": "(no full summary: {error})",
    "cli.not_written": "the summary could not be written to {path} ({error})",
    "cli.not_saved": "the report could not be written to {path} ({error})",
    "cli.not_started": "metering could not start ({error}); the program ran unmetered",
    "cli.no_price": "there is no price for {model}; openai-meter prices lists the models that have one",
    "cli.not_fetched": "the catalog could not be fetched: {error}",
    "cli.rolling_up": "summing up {n:,} calls, once after an update ...",
    "cli.ledger_missing": "name the ledger: --ledger sqlite:///usage.db, or {variable} in the environment",
    "cli.ledger_not_found": "there is no ledger {file}; openai-meter run --ledger {url} PROGRAM makes one",
    "cli.unknown_name": "no call in the ledger has the {dimension} {name}.",
    "cli.explain.waiting": (
        "waiting for JSON: paste a usage object or an answer of the API, then press Ctrl-D on a line of its own"
    ),
    "cli.demo.next": "Next:",
    "cli.demo.run": "the same for a program of yours",
    "cli.demo.ledger": "and keep every call",
    "cli.demo.serve": "the dashboard of sixty days",
    "cli.demo.docs": "the documentation",
    "cli.near": "Did you mean {names}?",
    "cli.docs.choose": "openai-meter docs TOPIC shows one of these pages.",
    "cli.docs.missing": "there is no page {topic}; there are {topics}.",
    "cli.estimate.tokens": "input tokens: {tokens}",
    "cli.estimate.cost": "input cost: {cost}",
    "cli.estimate.no_model": "input cost: unknown; name the model with --model",
    "cli.estimate.unknown": "unknown",
    "cli.estimate.about": "about ",
    "cli.estimate.at_least": "at least ",
    "cli.estimate.not_counted": "not counted: {parts}",
    "cli.estimate.sampled": "the text is long: it was sampled",
    "cli.estimate.by_characters": (
        "counted by characters, which is rough: the vocabulary is not on this machine; "
        f"{install_command('offline')} brings it"
    ),
    # The server.
    "server.reset": "Statistics reset successfully",
    "server.at": "the dashboard is at {url}/dashboard",
    "proxy.at": "requests to {url} pass on to {upstream}",
    "proxy.end": "passed through the proxy: {summary}",
    "proxy.no_program": "{program} cannot be run: {error}",
    "server.stop": "Ctrl-C ends it",
    "server.empty": (
        "there is no ledger: these are the figures of this process, which makes no calls. Name one (--ledger "
        "sqlite:///usage.db, or OPENAI_METER_LEDGER), or serve those of a program: openai-meter run "
        "--serve 3000 PROGRAM"
    ),
    "server.no_file": "there is no ledger {file} yet; its figures appear when a program writes to it",
    "server.not_started": "the dashboard could not start: {error}",
    # The page in the browser.
    **PAGE,
    # What is shown beside reports.
    **SCREENS,
    # Notebooks, and a start by the environment.
    "notebook.cell": "this cell",
    "auto.not_started": "metering could not start ({error}); the program goes on unmetered",
    # The pytest plugin.
    "pytest.exceeded": "The OpenAI calls of this test exceed its limits:",
    "pytest.cost": "  cost: {value}, limit: {limit}",
    "pytest.cost_unknown": "  cost: not known for {calls}, so it may be above the limit of {limit}",
    "pytest.tokens": "  tokens: {value}, limit: {limit}",
    "pytest.tokens_unknown": "  tokens: not known for {calls}, so they may be above the limit of {limit}",
    "pytest.calls": "  calls: {value}, limit: {limit}",
    "pytest.dearest": "The tests that cost most:",
}
