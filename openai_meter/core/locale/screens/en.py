"""The texts of dashboards, rules, the live view, the commands of a ledger and the test of webhooks, in English."""

from __future__ import annotations

from collections.abc import Mapping

from openai_meter.core.version import DISTRIBUTION

__all__ = ["SCREENS"]

SCREENS: Mapping[str, str | tuple[str, ...]] = {
    # Prometheus and Grafana.
    "grafana.title": "OpenAI usage",
    "grafana.job": "Job",
    "grafana.cost": "Cost",
    "grafana.calls": "Calls",
    "grafana.tokens": "Tokens",
    "grafana.errors": "Share of errors",
    "grafana.unpriced": "Calls without a full price",
    "grafana.open": "Open calls",
    "grafana.cost_by_model": "Cost per hour, by model",
    "grafana.cost_by_basis": "Cost per hour: measured and estimated",
    "grafana.calls_by_model": "Calls per minute, by model",
    "grafana.errors_by_model": "Share of errors, by model",
    "grafana.tokens_by_type": "Tokens per minute",
    "grafana.token_parts": "Of these, per minute",
    "grafana.cached_share": "Share of cached input tokens, by model",
    "grafana.thresholds": "Use of thresholds",
    "grafana.faults": "Faults of openai_meter",
    "grafana.ledger": "Calls given to the ledger",
    "rule.head": "Alert rules for the metrics of openai_meter. Change the limits to yours.",
    "rule.cost": "OpenAI calls cost more than $10 in an hour",
    "rule.cost.do": "Look at the cost per model and agent: openai-meter report --by model,agent --since 1h",
    "rule.jump": "OpenAI calls cost three times as much as in an average hour of the week",
    "rule.jump.do": "Look at what has changed: openai-meter report --by hour,model --since 24h",
    "rule.errors": "More than a tenth of the calls of a model fail",
    "rule.errors.do": "Look at the exceptions in the program's log, and at status.openai.com.",
    "rule.threshold": "A threshold of openai_meter is passed",
    "rule.threshold.do": "meter.alerts has the threshold and the value.",
    "rule.unpriced": "Calls of a model have no full price: the cost that is shown is too low",
    "rule.unpriced.do": "Set the price: install(prices=...), or openai-meter prices update.",
    "rule.unmeasured": "The usage of some calls of a model is unknown",
    "rule.unmeasured.do": f"Ask for the usage of streams, or install {DISTRIBUTION}[offline] so that it is estimated.",
    "rule.faults": "openai_meter has failed at its own work; records may be missing",
    "rule.faults.do": "Look at the program's log, under openai_meter.",
    "rule.away": "The database of the ledger is away; calls wait in the spool",
    "rule.away.do": "Look at the database; what waits is stored when it is back.",
    "rule.lost": "Calls could not be kept in the ledger",
    "rule.lost.do": "The reason is in the program's log, under openai_meter.",
    # The live view.
    "live.of.process": "this process",
    "live.of.fleet": "all processes",
    "live.today": "Today",
    "live.since.process": "Since start",
    "live.since.fleet": "This month",
    "live.now": "Per minute",
    "live.column.rate": "$/min",
    "live.column.tokens": "Tokens/min",
    "live.column.calls": "Calls",
    "live.column.errors": "Errors",
    "live.column.share": "Share",
    "live.column.cost": "Cost",
    "live.column.trend": "Trend",
    "live.total": "All",
    "live.others": "({n:,} others)",
    "live.more": "... and {n:,} more",
    "live.idle": "No call in the last {window}.",
    "live.limits": "Limits",
    "live.limit": "{used} of {limit}",
    "live.limit_per": "{name} per {per} ({key})",
    "live.limit_window": "{name} in {window}",
    "live.metric.calls": "calls",
    "live.metric.cost": "cost",
    "live.metric.errors": "errors",
    "live.metric.tokens": "tokens",
    "live.metric.tokens_per_call": "tokens/call",
    "live.foot": "last {window} · every {interval} · q quits",
    "live.forgotten": "only the last {seconds} are remembered",
    "live.waiting": "waiting for {name}",
    "live.again": "next try in {seconds}",
    "live.old": "figures are {seconds} old",
    "live.alerts": ("{n:,} limit exceeded", "{n:,} limits exceeded"),
    "live.line.today": "{cost} today",
    "live.line.since": "{cost} since {since}",
    "live.line.old": "{age} ago",
    "live.line.away": "openai-meter: no figures",
    # Forecasts, comparisons, and the upkeep of a ledger.
    "upkeep.forecast.month": "This month, {since} .. {until} ({timezone})",
    "upkeep.forecast.week": "This week, {since} .. {until} ({timezone})",
    "upkeep.forecast.day": "Today, {since} ({timezone})",
    "upkeep.spent": "Spent so far",
    "upkeep.expected": "Expected at the end",
    "upkeep.range": "Range",
    "upkeep.range_of": "{low} .. {high} (four times out of five)",
    "upkeep.days": ("Based on {n:,} day.", "Based on {n:,} days."),
    "upkeep.no_days": "There is not yet a whole day of history to base it on.",
    "upkeep.unpriced": (
        "{n:,} call has no full price: the cost will be higher.",
        "{n:,} calls have no full price: the cost will be higher.",
    ),
    "upkeep.not_compared": (
        "{n:,} call has no full price: its cost is not included.",
        "{n:,} calls have no full price: their cost is not included.",
    ),
    "upkeep.difference": "Difference",
    "upkeep.calls": "Calls",
    "upkeep.errors": "Errors",
    "upkeep.cost": "Cost",
    "upkeep.cost_per_call": "Cost per call",
    "upkeep.input_tokens": "Input tokens per call",
    "upkeep.cached_input_tokens": "Cached per call",
    "upkeep.output_tokens": "Output tokens per call",
    "upkeep.reasoning_tokens": "Reasoning per call",
    "upkeep.causes": "Where the difference comes from",
    "upkeep.volume": "Volume",
    "upkeep.mix": "Models",
    "upkeep.tokens": "Tokens",
    "upkeep.price": "Price",
    "upkeep.causes_are": (
        "Volume: more or fewer calls. Models: calls of others. Tokens: more or fewer per call. Price: of a token."
    ),
    "upkeep.repriced": ("{n:,} call has a full price now.", "{n:,} calls have a full price now."),
    "upkeep.left": ("{n:,} call still has none.", "{n:,} calls still have none."),
    "upkeep.nothing_old": "There are no details of calls before {day} (UTC).",
    "upkeep.ask": (
        "Delete the details of {n:,} call before {text} (UTC)? The sums per day stay. [y/N] ",
        "Delete the details of {n:,} calls before {text} (UTC)? The sums per day stay. [y/N] ",
    ),
    "upkeep.say_yes": (
        "{n:,} call before {text} (UTC) would lose its details; add --yes to delete them without a question",
        "{n:,} calls before {text} (UTC) would lose their details; add --yes to delete them without a question",
    ),
    "upkeep.kept": "Nothing was deleted.",
    "upkeep.pruned": (
        "The details of {n:,} call before {text} (UTC) were deleted.",
        "The details of {n:,} calls before {text} (UTC) were deleted.",
    ),
    # Other commands.
    "cli.refused": "refused by budget {budget}, and not sent: {calls}",
    "cli.no_file": "{file} cannot be read: there is no such file",
    "cli.not_read": "{file} cannot be read: {error}",
    "cli.not_utf8": "{file} is not text in UTF-8",
    "cli.source_missing": (
        "name the source: --ledger sqlite:///usage.db, {variable} in the environment, or --url http://127.0.0.1:3000"
    ),
    "cli.explain.not_read": "standard input or --at cannot be read: {error}",
    "cli.explain.not_an_object": ("standard input has to be one JSON object: a usage object, or an answer with one"),
    "cli.explain.no_usage": "standard input has no usage in it",
    "cli.explain.no_model": "standard input has no model in it: name it with --model",
    "cli.export.excel": "--excel is for CSV, and the form is {form}; add --format csv",
    "cli.export.parquet": "Parquet is not for a terminal; name a file with --output",
    "cli.export.folder": "{folder} is a folder; add the name of a file, such as {name}",
    "cli.export.written": ("{n:,} call written to {text}", "{n:,} calls written to {text}"),
    "cli.export.focus_utc": "--timezone is not for FOCUS, whose days and months are those of UTC; leave it out",
    "cli.export.focus_progress": ("{n:,} call read", "{n:,} calls read"),
    "cli.export.focus_written": (
        "{n:,} row of {calls} written to {text}; the sum of BilledCost is {cost}",
        "{n:,} rows of {calls} written to {text}; the sum of BilledCost is {cost}",
    ),
    "cli.export.focus_unpriced": (
        (
            "{n:,} call has no full price; it is counted in x_UnpricedCallCount, and its cost is not 0. After an "
            "update of the prices: openai-meter reprice"
        ),
        (
            "{n:,} calls have no full price; they are counted in x_UnpricedCallCount, and their cost is not 0. "
            "After an update of the prices: openai-meter reprice"
        ),
    ),
    "cli.export.file_written": "written to {path}",
    "cli.import.known": ("{n:,} was there already", "{n:,} were there already"),
    "cli.import.skipped": ("{n:,} line was of no call", "{n:,} lines were of no call"),
    "cli.import.missing": ("{calls}, {tokens} and {cost} of its totals are not in its details, and cannot be imported"),
    "cli.import.missing_at_least": (
        "{calls}, {tokens} and at least {cost} of its totals are not in its details, and cannot be imported"
    ),
    "cli.import.priced_anew": (
        "{n:,} call was priced anew: {text}",
        "{n:,} calls were priced anew: {text}",
    ),
    "cli.import.costs": "{cost}, where the file states {stated}",
    "cli.webhook.missing": "name the webhook: openai-meter webhook test URL, or one in {variable}",
    # The lines of limits.
    "cli.limit.kept": "{name}: {use} ({share})",
    "cli.limit.passed": "{name}: {use} ({share}), exceeded",
    "cli.limit.at_least": "{name}: {use} ({share}), or more: there are calls of unknown cost or size",
    # A test of a webhook.
    "cli.webhook.taken": "{webhook} took the test alert: {status} in {ms:,} ms",
    "cli.webhook.refused": "{webhook} did not take the test alert: {status} in {ms:,} ms",
    "cli.webhook.redirect": (
        "{webhook} did not take the test alert: {status}, a redirect to {host}, which is never followed ({ms:,} ms)"
    ),
    "cli.webhook.not_posted": "{webhook} was not reached: {error} ({ms:,} ms)",
    "cli.webhook.private": "Names of hosts in your own network are for --allow-private, or allow_private=True.",
    "cli.webhook.answer": "< {status} from {address}",
}
