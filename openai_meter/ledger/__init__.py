"""History that outlives the process: every call in SQLite or PostgreSQL. Needs the extra ``openai-meter[ledger]``.

``schema.py`` describes the tables. A schema change is one function appended to ``migrations.py``. ``writer.py``
stores calls; ``queries.py`` and ``reader.py`` read them.
"""

from importlib.util import find_spec

from openai_meter.core.version import install_command
from openai_meter.errors import MissingExtraError

if find_spec("sqlalchemy") is None:
    raise MissingExtraError(f"a ledger needs SQLAlchemy; install it with: {install_command('ledger')}")

from openai_meter.ledger.ledger import Ledger
from openai_meter.ledger.stats import Stats

__all__ = ["Ledger", "Stats"]
