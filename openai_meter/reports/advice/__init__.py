"""What could be done better, by the records of what was done.

::

    values     Recommendation
    families   which model is the next smaller one
    case       the calls, grouped, and what they would have cost otherwise
    rules      RULES: one function for each kind of advice
    engine     recommendations()

Every rule needs its evidence in the records and is silent without it. A saving is what the calls cost less what they
would have cost, both by the same price book, at each call's own date and tier.
"""

from openai_meter.reports.advice.engine import recommendations
from openai_meter.reports.advice.recommendation import Recommendation
from openai_meter.reports.advice.rules import RULES

__all__ = ["RULES", "Recommendation", "recommendations"]
