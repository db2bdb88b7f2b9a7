"""OpenAI's own figures (usage and costs of the organization) next to those of a ledger.

``organization.py`` reads them through the caller's client, ``exported.py`` from files; ``line_items.py`` reads the
names of a bill's lines; ``metered.py`` makes the same lines of a ledger's calls; ``matching.py`` puts both side by
side; ``causes.py`` finds why they differ; ``reconciliation.py`` has the result. ``openai`` is never imported here.
"""
