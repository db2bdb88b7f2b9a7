"""The live figures: the calls of the last minutes by model, agent or another dimension, as a value.

A :class:`Pulse` is taken of a meter or a block (:func:`of_meter`) or of a ledger, that is of all processes that write
to it (:func:`of_ledger`). It is plain data: the server sends it as JSON, and the live view reads it back.

A call counts at the moment when it ended. Only the last minutes are read, and only so many groups are kept apart,
so that the work for a pulse is bounded whatever the program does; the calls that are made meanwhile never wait for it.

::

    types     Pulse, Group and Rates; to JSON and back
    sampling  of_meter and of_ledger
"""

from openai_meter.metering.pulse.sampling import LONGEST, SHORTEST, SLICES, checked_window, of_ledger, of_meter
from openai_meter.metering.pulse.types import GROUPS, Group, Pulse, Rates

__all__ = [
    "GROUPS", "LONGEST", "SHORTEST", "SLICES", "Group", "Pulse", "Rates", "checked_window", "of_ledger", "of_meter",
]  # fmt: skip
