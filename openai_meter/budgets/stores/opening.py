"""Opens the store that a URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_meter.errors import ConfigurationError

if TYPE_CHECKING:
    from openai_meter.budgets.stores.protocol import BudgetStore

__all__ = ["open_store"]

_FORMS = "sqlite:///usage.db, postgresql+psycopg://user:password@host/database, or redis://host:6379/0"


def open_store(url: object) -> BudgetStore:
    """The store of a URL. Nothing is connected before the first call needs it.

    Raises:
        ConfigurationError: it is not the URL of a store.
        MissingExtraError: a package is missing.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"budget_store is a {type(url).__name__}; pass a URL such as {_FORMS}")
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from openai_meter.budgets.stores.sqlite import SqliteStore  # noqa: PLC0415 - one of several

        return SqliteStore(rest[1:])
    if scheme in {"postgresql", "postgresql+psycopg", "postgres"}:
        from openai_meter.budgets.stores.postgres import PostgresStore  # noqa: PLC0415

        return PostgresStore(url.replace("postgres://", "postgresql://", 1))
    if scheme in {"redis", "rediss", "valkey", "valkeys"}:
        from openai_meter.budgets.stores.redis import RedisStore  # noqa: PLC0415

        return RedisStore(url)
    raise ConfigurationError(f"there is no budget store {scheme}://...; use {_FORMS}")  # the rest may have a password
