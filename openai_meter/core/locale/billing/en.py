"""The texts of reconciliations in English."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["BILLING"]

BILLING: Mapping[str, str | tuple[str, ...]] = {
    "reconcile.title": "{since} to {until} (UTC)",
    "reconcile.billed": "Billed",
    "reconcile.metered": "Metered",
    "reconcile.difference": "Difference",
    "reconcile.coverage": "Coverage",
    "reconcile.tokens_head": "of the tokens",
    "reconcile.day": "Day",
    "reconcile.project": "Project",
    "reconcile.model": "Model",
    "reconcile.line_item": "Line item",
    "reconcile.cause": "Cause",
    "reconcile.causes": "Causes",
    "reconcile.covered": "The ledger has {share} of the billed amount, line by line.",
    "reconcile.covered_tokens": (
        "The ledger has {share} of the billed amount, line by line, and {tokens} of the tokens."
    ),
    "reconcile.nothing_billed": "Nothing was billed.",
    "reconcile.open": "Still open, and in no sum: {days} ({billed} billed, {metered} metered so far).",
    "reconcile.same": "Every line of the bill is in the ledger, at the same price.",
    "reconcile.where": "Where the difference comes from",
    "reconcile.not_read": "Not read: {names}.",
    "reconcile.proposal": 'Price rows as they are in the bill. Save them in a file, and pass it: prices="{file}".',
    "reconcile.below": "The coverage is {share}, which is below {limit}.",
    "reconcile.no_project": "(no project)",
    "reconcile.no_model": "(no model)",
    "reconcile.reading": "Reading {name} ({place} of {number})",
    "reconcile.missing_key": "set OPENAI_ADMIN_KEY to an admin key of the organization, or pass --usage and --costs",
    "reconcile.stored": (
        "{n:,} row of usage and costs, {text}",
        "{n:,} rows of usage and costs, {text}",
    ),
    "reconcile.at": "{where}: {why}",
    # Causes: their names, and what shows them.
    "reconcile.cause.another_project": "Another project",
    "reconcile.cause.another_key": "Another key",
    "reconcile.cause.another_program": "Another program in the project",
    "reconcile.cause.tier": "Another tier",
    "reconcile.cause.cache_write_ttl": "Another cache lifetime",
    "reconcile.cause.tool_fee": "Fee of a tool",
    "reconcile.cause.storage": "Storage",
    "reconcile.cause.price": "Another price",
    "reconcile.cause.not_counted": "Not counted by the meter",
    "reconcile.cause.estimated": "Estimated tokens",
    "reconcile.cause.time_zone": "Near midnight (UTC)",
    "reconcile.cause.not_billed": "Not in the bill",
    "reconcile.cause.unexplained": "Unexplained",
    "reconcile.cause.open_day": "Day still open",
    "reconcile.why.another_project": (
        "{n:,} request in a project that the ledger has never seen",
        "{n:,} requests in a project that the ledger has never seen",
    ),
    "reconcile.why.another_key": (
        "{n:,} request with the key {text}, which the ledger does not have",
        "{n:,} requests with the key {text}, of which the ledger has none",
    ),
    "reconcile.why.another_program": "{billed:,} requests in the bill, {metered:,} calls in the ledger",
    "reconcile.why.tier": "recorded as {metered}, billed as {billed}",
    "reconcile.why.cache_write_ttl": "recorded as {metered}, billed as {billed}",
    "reconcile.why.tool_fee": "{fee}: {billed:,} uses in the bill, {metered:,} in the ledger",
    "reconcile.why.storage": "the ledger records calls, not what is stored",
    "reconcile.why.price": "the same tokens at another price: {prices}",
    "reconcile.why.price_of": "{slot} {billed} instead of {metered} per million",
    "reconcile.why.unpriced_of": "{slot} {billed} per million, and no price here",
    "reconcile.why.not_counted": "{billed:,} requests in the bill, {metered:,} calls in the ledger",
    "reconcile.why.without_usage": ("{n:,} call whose tokens are unknown", "{n:,} calls whose tokens are unknown"),
    "reconcile.why.no_requests": "a line of the bill that no call of the ledger is in",
    "reconcile.why.estimated": (
        "{n:,} call whose tokens the API did not report",
        "{n:,} calls whose tokens the API did not report",
    ),
    "reconcile.why.time_zone": (
        "{n:,} call that is in the bill of the day before or after",
        "{n:,} calls that are in the bill of the day before or after",
    ),
    "reconcile.why.not_billed": "{metered:,} calls in the ledger, {billed:,} requests in the bill",
    "reconcile.why.unexplained": "{metered:,} calls in the ledger, {billed:,} requests in the bill",
    "reconcile.why.open_day": "both sides go on growing",
}
