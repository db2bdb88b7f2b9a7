"""What people read, in their language: one file per language, all with the same keys.

To add a language, add a file named by its ISO 639 code (two or three letters) with a ``plural`` rule and ``MESSAGES``.
"""

from openai_meter.core.locale.choice import Messages, language, languages

__all__ = ["Messages", "language", "languages"]
