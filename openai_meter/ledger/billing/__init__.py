"""OpenAI's own figures (usage and costs of the organization) next to those of a ledger, and what finance needs of it.

A bill: ``organization.py`` reads it through the caller's client, ``exported.py`` from files. ``line_items.py`` reads
the names of its lines, ``billed.py`` makes cells of them, ``metered.py`` the same cells of a ledger's calls.
``owners.py`` finds the ledger's projects and keys, ``edges.py`` calls near midnight, ``tiers.py`` other tiers,
``causes.py`` the rest. ``reconcile.py`` puts these together, and ``reconciliation.py`` has the result. ``openai`` is
never imported here.
"""
