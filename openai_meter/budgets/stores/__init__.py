"""The stores of budgets that several processes share: one protocol, four stores.

============== ======================================= ==========================================================
memory         no URL                                  for tests: the same rules in one process
sqlite         ``sqlite:///usage.db``                  processes of one machine
postgres       ``postgresql+psycopg://...``            a fleet; needs the extra ``postgres``
redis          ``redis://...``, ``valkey://...``       a fleet; needs the extra ``redis``
============== ======================================= ==========================================================

To add a store, write a class with the methods of :class:`~openai_meter.budgets.stores.protocol.BudgetStore`, a row in
``opening.py``, and a row in the contract tests.
"""

from openai_meter.budgets.stores.opening import open_store
from openai_meter.budgets.stores.protocol import (
    BudgetStore,
    Order,
    Report,
    Row,
    Stage,
    Stored,
    StoreUnavailableError,
    Taken,
)

__all__ = ["BudgetStore", "Order", "Report", "Row", "Stage", "StoreUnavailableError", "Stored", "Taken", "open_store"]
