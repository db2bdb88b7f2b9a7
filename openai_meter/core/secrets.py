"""Masks secrets in texts that people read: logs, errors, command lines, HTTP answers.

URLs of databases carry secrets in two places: ``//user:password@host``, and parameters such as ``?sslpassword=``. The
key-value form of PostgreSQL (``password='...'``) is masked as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote_plus

__all__ = ["MASK", "is_secret", "mask"]

MASK = "***"

_KEY = re.compile(
    r"pass(?!file)|pwd|secret|token|credential|(?:api|access|private|account|shared)[_-]?key", re.IGNORECASE
)
_USER = re.compile(r"(//[^\s:/@?]*):[^\s?]*@|(//[^\s:/@?]*):[^\s]*@")
_PAIR = re.compile(r"""([^\s=&?;,'"(){}]{1,200})(\s*=\s*)('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&;'")]*)""")
_SHORTEST = 3
"""Characters of a known secret that is searched for: a shorter one is part of too many words."""


def is_secret(key: str) -> bool:
    """Whether a parameter of that name holds a secret."""
    return _KEY.search(unquote_plus(key)) is not None


def mask(text: str, known: Iterable[str] = ()) -> str:
    """The text with :data:`MASK` in the place of every secret.

    Args:
        text: any text, such as a message of a driver.
        known: secrets to be masked wherever they stand, in any of the forms that URLs give them.
    """
    forms = {
        form for secret in known for form in (secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1])
    }
    for form in sorted(forms, key=len, reverse=True):
        if len(form) >= _SHORTEST:
            text = text.replace(form, MASK)
    text = _USER.sub(lambda found: f"{found[1] or found[2]}:{MASK}@", text)
    return _PAIR.sub(lambda found: f"{found[1]}{found[2]}{MASK}" if is_secret(found[1]) else found[0], text)
