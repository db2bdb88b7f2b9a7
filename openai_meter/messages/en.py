"""English: the language of all keys, and of whoever has none of the others.

A value in braces is filled in. A tuple has the singular and the plural, and is chosen by ``n``. To add a sentence, add
its key here and in the other languages, in the area where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["MESSAGES", "plural"]


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
    # Rows that are no names, by the constants of the store.
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
    # Dimensions: as the head of a column, and after "by".
    "dimension.model": "Model",
    "dimension.agent": "Agent",
    "dimension.operation": "Operation",
    "dimension.user": "User",
    "dimension.session": "Session",
    "dimension.tag": "Tags",
    "dimension.endpoint": "Endpoint",
    "dimension.provider": "Provider",
    "dimension.block": "Block",
    "by.model": "model",
    "by.agent": "agent",
    "by.operation": "operation",
    "by.user": "user",
    "by.session": "session",
    "by.tag": "tags",
    "by.endpoint": "endpoint",
    "by.provider": "provider",
    "by.block": "block",
    "by.and": " and ",
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
    "note.unpriced": "No price for {model}: {calls}, {tokens} ({reason}).",
    "note.unpriced_more": "No price for {n:,} more; the JSON report has them all.",
    "note.folded": (
        "{n:,} call counts in a row of others: there were too many names.",
        "{n:,} calls count in rows of others: there were too many names.",
    ),
    "note.pending": ("{n:,} call not finished yet.", "{n:,} calls not finished yet."),
    "note.faults": (
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
    "reason.tier": "tier: {what}",
    "reason.price": "price: {what}",
    "reason.window": "window: {what}",
    "reason.azure_deployment_type": "azure deployment type: {what}",
    # One line.
    "line.unmeasured": ("{n:,} call of unknown size", "{n:,} calls of unknown size"),
    "line.pending": "{n:,} open",
    "line.session": "💡 Session: {line}",
    # The summary as a tree.
    "tree.title": "📊 TOKENS & COSTS SUMMARY",
    "tree.title_of": "📊 TOKENS & COSTS SUMMARY: {name}",
    "tree.since": "🕐 Session started: {since}",
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
    # The command line.
    "cli.nothing": "no OpenAI call was made",
    "cli.forked": "forked process {process}:",
    "cli.not_full": "(no full summary: {error})",
    "cli.not_written": "the summary could not be written to {path} ({error})",
    "cli.not_saved": "the report could not be written to {path} ({error})",
    "cli.not_started": "metering could not start ({error}); the program ran unmetered",
    "cli.no_price": "there is no price for {model}; openai-meter prices lists the models that have one",
    "cli.not_fetched": "the catalog could not be fetched: {error}",
}
