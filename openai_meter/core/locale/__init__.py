"""The texts for people: one file per language, all with the same keys.

To add a language, add a module named by its ISO 639 code, such as ``de.py``, with the names that ``fr.py`` has
(``plural``, ``NUMBERS``, ``MESSAGES``), in this package and in ``advice``, ``help``, ``page``, ``screens``
and ``cli/doctor/locale``. Add its number style to ``core/formatting.py``, and a row to ``_CATALOGS`` in ``choice.py``.
Tests compare the keys.
"""

from openai_meter.core.locale.choice import Messages, language, languages

__all__ = ["Messages", "language", "languages"]
