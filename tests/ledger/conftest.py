"""Fixtures of the tests of the ledger."""

from ledger_fixtures import database, postgres, server, sqlite

__all__ = ["database", "postgres", "server", "sqlite"]
