"""Secrets in texts: whatever form a URL or a message has, no password is left in it."""

from __future__ import annotations

import pytest

from openai_meter.core.secrets import is_secret, mask

SECRET = "hunter2-xyz"


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"postgresql+psycopg://me:{SECRET}@host:5432/db?sslmode=require",
        f"postgresql://me:p@ss/{SECRET}@host/db",
        f"postgresql://:{SECRET}@host/db",
        f"postgresql://me@host/db?password={SECRET}",
        f"postgresql://me@host/db?sslpassword={SECRET}&connect_timeout=3",
        f"postgresql://me@host/db?a=b&PassWord={SECRET}#x",
        f"postgresql://me@host/db?p%61ssword={SECRET}",
        f"postgresql://me@host/db?api_key={SECRET};token={SECRET}",
        f"host=db user=me password={SECRET} dbname=x",
        f"host=db password='{SECRET} with a space' dbname=x",
        f"connection failed: (password = '{SECRET}')",
        f'{{"url": "postgresql://me:{SECRET}@host/db?secret={SECRET}"}}',
    ],
)
def test_secret_is_masked(text: str) -> None:
    """Passwords before a host, in parameters and in PostgreSQL's key-value form are replaced."""
    masked = mask(text)
    assert SECRET not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me/usage.db",
        "postgresql://me@host/db?sslmode=require&passfile=/home/me/.pgpass",
        "a = b, c=d",
        "",
    ],
)
def test_text_without_a_secret_is_unchanged(text: str) -> None:
    """What holds no secret stays as it is."""
    assert mask(text) == text


def test_known_secret_is_masked_in_every_form() -> None:
    """Plain or quoted for a URL."""
    assert (
        mask("the server said 'a b/c' and a%20b%2Fc and a+b%2Fc", ["a b/c"]) == "the server said '***' and *** and ***"
    )


def test_secret_parameters_are_recognized_by_name() -> None:
    """Files with secrets are not secret themselves."""
    assert all(map(is_secret, ("password", "sslpassword", "PASSWD", "api-key", "accessKey", "client_secret", "token")))
    assert not any(map(is_secret, ("host", "sslmode", "passfile", "sslkey", "options", "keepalives")))
